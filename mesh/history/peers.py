"""The live workers that can record topics, and which of them a topic belongs to.

A worker counts as gone when it announces its end, is silent for `bus.node_down_seconds`, or is reported
lost and does not announce itself within LOST_SECONDS. A live worker that is reported lost announces itself
at once. If the report was false and the worker was too slow, two workers may record a topic for a moment:
the term of the later one counts (mesh/history/log.py).
"""

import asyncio
from collections.abc import Callable, Iterable
from hashlib import blake2b

from mesh.bus.discovery.placement import Announcement, ranked
from mesh.telemetry import Complaints, get_logger

log = get_logger(__name__)
_ignored = Complaints(log, "recorded broadcast ignored")

LOST_SECONDS = 0.3
"""A worker that was reported lost has this long to announce itself."""

RouteKey = tuple[str, str]


def unannounced(topic: str, node: str) -> None:
    """Count, and log at intervals, that a node which has not announced that it records has done so."""
    reason = "its origin has not announced itself as a recorder"
    _ignored.about(node, "history_broadcasts_unannounced", reason, topic=topic)


class Peers:
    """The workers of the mesh that can record topics, this one included.

    Args:
        node: the id of this worker.
        routes: the keys of the routes whose topics it records.
        on_change: called when a worker has come, or is gone.

    Attributes:
        left: the last announcements of workers that are gone.
    """

    def __init__(self, node: str, routes: Iterable[RouteKey], on_change: Callable[[], None]) -> None:
        self.node = node
        self._on_change = on_change
        self._routes: dict[str, frozenset[RouteKey]] = {node: frozenset(routes)}
        self._announcements: dict[str, Announcement] = {}
        self._refusing: set[str] = set()
        self._silent: set[str] = set()
        self._spoke: set[str] = set()
        self._suspected: dict[str, asyncio.TimerHandle] = {}
        self._workers_of: dict[RouteKey, tuple[str, ...]] = {}
        self.left: dict[str, Announcement] = {}
        self.digest = self._make_digest()

    @property
    def others(self) -> list[str]:
        """The other live workers."""
        return [node for node in self._routes if node != self.node]

    @property
    def expected(self) -> list[str]:
        """The other live workers, without those that have never sent anything when they should have."""
        return [node for node in self.others if node not in self._silent]

    def is_live(self, node: str) -> bool:
        """Return whether a worker is live."""
        return node in self._routes

    def has_announced(self, node: str) -> bool:
        """Return whether a node has announced itself as a worker that records topics; it may be gone."""
        return node in self._routes or node in self.left

    def ranked(self, route: RouteKey, topic: str) -> list[str]:
        """Return the worker that a topic belongs to, and the one that keeps the copy, if there are any."""
        workers = self._workers_of.get(route)
        if workers is None:
            workers = self._workers_of[route] = tuple(
                node
                for node, routes in self._routes.items()
                if route in routes and node not in self._refusing and node not in self._silent
            )
        return list(workers) if len(workers) < 2 else ranked(topic, workers)

    def announced(self, announcement: Announcement) -> None:
        """Take note of the announcement of a live node."""
        node = announcement.node
        suspicion = self._suspected.pop(node, None)
        if suspicion is not None:
            suspicion.cancel()
        if announcement.kind != "worker" or node == self.node or not announcement.history:
            return
        self._announcements[node] = announcement
        routes = frozenset(announcement.history)
        if self._routes.get(node) != routes:
            self._routes[node] = routes
            self.left.pop(node, None)
            self._changed()

    def lost(self, node: str) -> None:
        """A node was reported lost: it counts as gone unless it announces itself soon."""
        if node in self._routes and node != self.node and node not in self._suspected:
            loop = asyncio.get_running_loop()
            self._suspected[node] = loop.call_later(LOST_SECONDS, self.gone, node)

    def gone(self, node: str) -> None:
        """A node has stopped or died."""
        suspicion = self._suspected.pop(node, None)
        if suspicion is not None:
            suspicion.cancel()
        if node == self.node or self._routes.pop(node, None) is None:
            return
        for nodes in (self._refusing, self._silent, self._spoke):
            nodes.discard(node)
        while len(self.left) >= 100:
            del self.left[next(iter(self.left))]
        self.left[node] = self._announcements.pop(node)
        self._changed()

    def refused(self, node: str) -> None:
        """A worker takes no topics, because it is stopping."""
        self._refusing.add(node)
        self._changed()

    def answers_nothing(self, node: str) -> None:
        """A worker has not answered in time: if it never has, no topic belongs to it until it does."""
        if node in self._routes and node not in self._spoke and node not in self._silent:
            log.error(
                "a worker announces that it records topics, but answers nothing: ignored", worker=node
            )
            self._silent.add(node)
            self._changed()

    def spoke(self, node: str) -> None:
        """A worker has sent something about histories; it may not have announced itself yet."""
        if node in self._spoke:
            return
        if len(self._spoke) > 1_000:
            self._spoke.intersection_update(self._routes)
        self._spoke.add(node)
        if node in self._silent:
            self._silent.discard(node)
            self._changed()

    def close(self) -> None:
        """Stop watching."""
        for suspicion in self._suspected.values():
            suspicion.cancel()
        self._suspected.clear()

    def _changed(self) -> None:
        self._workers_of.clear()
        self.digest = self._make_digest()
        self._on_change()

    def _make_digest(self) -> str:
        return blake2b("\n".join(sorted(self._routes)).encode(), digest_size=12).hexdigest()
