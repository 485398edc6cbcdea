"""Watches linked nodes of which nothing comes on the bus, for as long as that is so.

Silence on the bus alone proves little, since the proxy may be at fault. A node that is silent on its link
as well is dead, or as good as dead.
"""

import asyncio
from collections.abc import Callable

CHECKS = 4
"""How often we look within the time that a node may be silent."""


class Silence:
    """The nodes that are silent on the bus.

    Args:
        seconds: that a node may be silent on its link, too.
        check: called with (node, seconds) repeatedly: it ends a link that has been silent that long, and
            returns whether there still is one.
    """

    def __init__(self, seconds: float, check: Callable[[str, float], bool]) -> None:
        self._seconds = seconds
        self._check = check
        self._nodes: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def watch(self, node: str) -> None:
        """A node has fallen silent on the bus."""
        self._nodes[node] = None
        if self._timer is None:
            self._later()

    def heard(self, node: str) -> None:
        """A node is heard again, or is gone."""
        self._nodes.pop(node, None)

    def close(self) -> None:
        """Stop."""
        self._nodes.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _later(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._seconds / CHECKS
        self._timer = loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        late = asyncio.get_running_loop().time() - self._due
        if late < self._seconds / CHECKS:  # else we were frozen, and others had no chance to be heard
            for node in list(self._nodes):
                if not self._check(node, self._seconds):
                    self.heard(node)
        if self._nodes and self._timer is None:
            self._later()
