"""Which live workers can record a topic, by their announcements. Pure.

A node that runs the application knows the routes (`WorkersByRoute`). Other programs know only the patterns
that workers announce (`WorkersByPattern`).
"""

from collections.abc import Callable
from typing import Protocol

from mesh.app.history import KeptTopics
from mesh.app.routes import Route
from mesh.bus.discovery.placement import Announcement
from mesh.errors import ChannelError

LiveNodes = Callable[[], list[Announcement]]
"""Returns the announcements of all live nodes."""


class Workers(Protocol):
    """Finds the workers that can record a topic."""

    def of(self, topic: str) -> list[str]:
        """Return the ids of the workers that are known now; there may be more a moment later.

        Raises:
            ChannelError: if the topic has no history.
        """


class WorkersByRoute:
    """For a node with an endpoint.

    Args:
        kept_topics: the topics with a history (`Endpoint.kept_topics`).
        nodes: returns the live nodes.
    """

    def __init__(self, kept_topics: KeptTopics, nodes: LiveNodes) -> None:
        self._kept_topics = kept_topics
        self._nodes = nodes

    def of(self, topic: str) -> list[str]:
        """Return the workers that announce the topic's route. Raises ChannelError."""
        route = self._kept_topics.find(topic)
        if route is None:
            raise ChannelError(f"topic {topic!r} has no history: its Channel class declares none")
        return [each.node for each in self._nodes() if each.kind == "worker" and route.key in each.history]


class WorkersByPattern:
    """For a program without an endpoint.

    Args:
        nodes: returns the live nodes.
        settled: returns whether all live nodes have had the time to announce themselves.
    """

    def __init__(self, nodes: LiveNodes, settled: Callable[[], bool]) -> None:
        self._nodes = nodes
        self._settled = settled

    def of(self, topic: str) -> list[str]:
        """Return the workers that announce a pattern that matches the topic. Raises ChannelError."""
        workers = [each for each in self._nodes() if each.kind == "worker"]
        found = [each.node for each in workers if _records(each, topic)]
        if workers and not found and self._settled():
            raise ChannelError(f"topic {topic!r} has no history: no worker announces a route with one")
        return found


def _records(worker: Announcement, topic: str) -> bool:
    return any(Route(pattern, None).matches(topic) for _, pattern in worker.history)
