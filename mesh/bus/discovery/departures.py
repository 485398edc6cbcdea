"""Decides which nodes have stopped or died, so that nobody waits for their answers.

A node counts as gone in three cases: it announced its stop; it was silent for `bus.node_down_seconds`; or
another node reported that its link to it ended, and it does not announce itself soon afterwards. A node
that does not receive its own announcements, or began to only recently, decides nothing: its own connection
may be the broken one.
"""

import asyncio
from collections.abc import Callable

from mesh.bus.discovery.placement import Placement

SILENT_ANNOUNCEMENTS = 1.5
"""A node that was reported lost counts as gone if it does not announce itself for this many intervals: a
live node answers such a report at once."""
SETTLED_ANNOUNCEMENTS = 2.5
"""A node that has received its own announcements for this many intervals has received those of all others.
A node that has missed its own for this many intervals has lost its connection to the bus."""


class Departures:
    """Watches the nodes of a placement."""

    def __init__(self, placement: Placement, announce_seconds: float) -> None:
        self._on_silent: Callable[[str], None] | None = None
        self._on_gone: Callable[[str], None] | None = None
        self._placement = placement
        self._announce_seconds = announce_seconds
        self._last_own_announcement = float("-inf")
        self._receiving_since = float("-inf")
        self._suspected: dict[str, asyncio.TimerHandle] = {}

    def start(self, on_silent: Callable[[str], None] | None, on_gone: Callable[[str], None] | None) -> None:
        """Begin to watch.

        Args:
            on_silent: called with the id of a node that is gone without having announced it, before
                `on_gone`.
            on_gone: called with the id of each node that is gone.
        """
        self._on_silent, self._on_gone = on_silent, on_gone

    def is_gone(self, node: str) -> bool:
        """Return whether the node is known to be gone."""
        if self._placement.get(node) is not None:
            return False
        now = asyncio.get_running_loop().time()
        settled = now - self._receiving_since > SETTLED_ANNOUNCEMENTS * self._announce_seconds
        return settled and self._is_receiving(now)

    def own_announcement_received(self) -> None:
        """Record that this node's own announcement was received."""
        now = asyncio.get_running_loop().time()
        if not self._is_receiving(now):
            self._receiving_since = now
        self._last_own_announcement = now

    def _is_receiving(self, now: float) -> bool:
        return now - self._last_own_announcement < SETTLED_ANNOUNCEMENTS * self._announce_seconds

    def announced(self, node: str) -> None:
        """Record that the node has announced itself."""
        timer = self._suspected.pop(node, None)
        if timer is not None:
            timer.cancel()

    def stopped(self, node: str) -> None:
        """Record that the node has announced its stop."""
        self.announced(node)
        if self._on_gone is not None:
            self._on_gone(node)

    def fell_silent(self, node: str) -> None:
        """Record that nothing was received from the node for `bus.node_down_seconds`."""
        if self._is_receiving(asyncio.get_running_loop().time()):
            self.stopped(node)

    def suspect(self, node: str) -> None:
        """Record that another node has lost its link to this node."""
        if node not in self._suspected and self._placement.get(node) is not None:
            seconds = SILENT_ANNOUNCEMENTS * self._announce_seconds
            loop = asyncio.get_running_loop()
            self._suspected[node] = loop.call_later(seconds, self._suspicion_expired, node)

    def close(self) -> None:
        """Stop watching."""
        for timer in self._suspected.values():
            timer.cancel()
        self._suspected.clear()

    def _suspicion_expired(self, node: str) -> None:
        del self._suspected[node]
        if self._is_receiving(asyncio.get_running_loop().time()):
            self._placement.forget(node)
            if self._on_silent is not None:
                self._on_silent(node)
            if self._on_gone is not None:
                self._on_gone(node)
