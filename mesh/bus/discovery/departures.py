"""Which nodes have stopped or died, so that nobody waits for their answers.

A node is gone when it has said goodbye, when it has been silent for `bus.node_down_seconds`, or when a node
saw its link to it end and it does not announce itself soon after. A node that does not receive its
own announcements, or has not received them for long, cannot tell: its own connection may be what is broken.
"""

import asyncio
from collections.abc import Callable

from mesh.bus.discovery.placement import Placement

SILENT_ANNOUNCEMENTS = 1.5
"""After this many missing announcements a node whose link has ended counts as gone; if it were alive, it
would announce itself at once."""
SETTLED_ANNOUNCEMENTS = 2.5
"""A node that has received its own announcements for this many intervals has received those of all others.
One that has missed this many of its own has lost its connection to the bus."""


class Departures:
    """Keeps watch over the nodes of a placement."""

    def __init__(self, placement: Placement, announce_seconds: float) -> None:
        self._on_silent: Callable[[str], None] | None = None
        self._on_gone: Callable[[str], None] | None = None
        self._placement = placement
        self._announce_seconds = announce_seconds
        self._heard_self = float("-inf")
        self._hears_since = float("-inf")
        self._accused: dict[str, asyncio.TimerHandle] = {}

    def start(self, on_silent: Callable[[str], None] | None, on_gone: Callable[[str], None] | None) -> None:
        """Begin to watch.

        Args:
            on_silent: called with the id of a node that is gone and did not say goodbye, before `on_gone`.
            on_gone: called with the id of each node that is gone.
        """
        self._on_silent, self._on_gone = on_silent, on_gone

    def is_gone(self, node: str) -> bool:
        """Whether the node is known to be gone."""
        if self._placement.get(node) is not None:
            return False
        now = asyncio.get_running_loop().time()
        settled = now - self._hears_since > SETTLED_ANNOUNCEMENTS * self._announce_seconds
        return settled and self._hears(now)

    def heard_self(self) -> None:
        """This node's own announcement has come back."""
        now = asyncio.get_running_loop().time()
        if not self._hears(now):
            self._hears_since = now
        self._heard_self = now

    def _hears(self, now: float) -> bool:
        return now - self._heard_self < SETTLED_ANNOUNCEMENTS * self._announce_seconds

    def spoke(self, node: str) -> None:
        """The node has announced itself."""
        timer = self._accused.pop(node, None)
        if timer is not None:
            timer.cancel()

    def left(self, node: str) -> None:
        """The node has said goodbye."""
        self.spoke(node)
        if self._on_gone is not None:
            self._on_gone(node)

    def fell_silent(self, node: str) -> None:
        """Nothing has come from the node for a long time."""
        if self._hears(asyncio.get_running_loop().time()):
            self.left(node)

    def accuse(self, node: str) -> None:
        """Another node saw its link to this node end."""
        if node not in self._accused and self._placement.get(node) is not None:
            seconds = SILENT_ANNOUNCEMENTS * self._announce_seconds
            loop = asyncio.get_running_loop()
            self._accused[node] = loop.call_later(seconds, self._does_not_answer, node)

    def close(self) -> None:
        """Stop watching."""
        for timer in self._accused.values():
            timer.cancel()
        self._accused.clear()

    def _does_not_answer(self, node: str) -> None:
        del self._accused[node]
        if self._hears(asyncio.get_running_loop().time()):
            self._placement.forget(node)
            if self._on_silent is not None:
                self._on_silent(node)
            if self._on_gone is not None:
                self._on_gone(node)
