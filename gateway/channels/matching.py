"""Finds the route of a topic, and compares refs as Phoenix does. Pure. Source: Phoenix.Socket.__in__."""

from typing import Any

from mesh.app.channel import Channel
from mesh.app.routes import Route, RouteTable
from mesh.app.topics import MAX_TOPIC_BYTES, is_reserved


def find_route(routes: RouteTable[type[Channel]], topic: Any) -> Route[type[Channel]] | None:
    """Return the route by which a client may join a topic; None if no route matches or it is reserved."""
    if not isinstance(topic, str) or is_reserved(topic) or "\x00" in topic:
        return None
    if len(topic.encode()) > MAX_TOPIC_BYTES:
        return None
    return routes.find(topic)


def same_ref(one: Any, other: Any) -> bool:
    """Compare two refs strictly, as Elixir does: "1", 1 and 1.0 differ, and true is not 1."""
    return type(one) is type(other) and bool(one == other)
