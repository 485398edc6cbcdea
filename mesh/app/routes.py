"""Which Channel serves a topic: the first declared route that matches, as in Phoenix.Socket.

`*` is allowed only as the last character; it matches the rest of the topic, which may be empty. A route
that can never match, because an earlier one matches all of its topics, is an error at the start.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from mesh.app.topics import check
from mesh.errors import RouteError, TopicError

Target = TypeVar("Target")


@dataclass(frozen=True, slots=True)
class Route(Generic[Target]):
    """One channel route: `Route("room:*", RoomChannel, assigns={"limit": 10})`.

    Attributes:
        pattern: a topic, or a prefix followed by `*`.
        channel: the Channel class that serves the topics.
        assigns: merged into the socket's assigns at each join; they take precedence.
    """

    pattern: str
    channel: Target
    assigns: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, topic: str) -> bool:
        """Return whether this route matches `topic`."""
        if self.pattern.endswith("*"):
            return topic.startswith(self.pattern[:-1])
        return topic == self.pattern


class RouteTable(Generic[Target]):
    """Routes in the order they were declared.

    Raises:
        RouteError: for an invalid, duplicate or shadowed route.
    """

    def __init__(self, routes: Iterable[Route[Target]], owner: str = "routes") -> None:
        self.routes: tuple[Route[Target], ...] = tuple(routes)
        for index, route in enumerate(self.routes):
            _check_pattern(route.pattern, owner)
            _check_shadow(route.pattern, [r.pattern for r in self.routes[:index]], owner)

    def find(self, topic: str) -> Route[Target] | None:
        """Return the first route that matches `topic`, or None."""
        for route in self.routes:
            if route.matches(topic):
                return route
        return None


def _check_pattern(pattern: object, owner: str) -> None:
    if not isinstance(pattern, str) or not pattern:
        raise RouteError(f"{owner}: route {pattern!r} is not a topic; want 'room:*' or 'lobby'")
    if "*" in pattern[:-1]:
        raise RouteError(f"{owner}: route {pattern!r} has '*' before its end; '*' may only be last")
    try:
        check(pattern)
    except TopicError as error:
        raise RouteError(f"{owner}: route {pattern!r}: {error}") from None


def _check_shadow(pattern: str, earlier: list[str], owner: str) -> None:
    for other in earlier:
        if pattern == other:
            raise RouteError(f"{owner}: route {pattern!r} is declared twice")
        if other.endswith("*") and pattern.startswith(other[:-1]):
            raise RouteError(
                f"{owner}: route {pattern!r} can never match: {other!r} above it matches all its topics;"
                f" declare {pattern!r} first"
            )
