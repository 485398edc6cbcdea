"""Watches linked nodes that are silent on the bus, as long as they are.

Silence on the bus alone proves little, because the proxy may be the cause. A node that is silent on its
link as well is dead or unusable.
"""

import asyncio
from collections.abc import Callable

CHECKS = 4
"""How often the links are checked within the time that a node may be silent."""


class Silence:
    """The nodes that are silent on the bus.

    Args:
        seconds: how long a node may be silent on its link as well.
        check: called repeatedly with (node, seconds): it ends links that have been silent for that long,
            and returns whether any is left.
    """

    def __init__(self, seconds: float, check: Callable[[str, float], bool]) -> None:
        self._seconds = seconds
        self._check = check
        self._nodes: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def watch(self, node: str) -> None:
        """Watch a node that has fallen silent on the bus."""
        self._nodes[node] = None
        if self._timer is None:
            self._later()

    def unwatch(self, node: str) -> None:
        """Stop watching a node that announces itself again, or is gone."""
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
        if late < self._seconds / CHECKS:  # otherwise this process was frozen
            for node in list(self._nodes):
                if not self._check(node, self._seconds):
                    self.unwatch(node)
        if self._nodes and self._timer is None:
            self._later()
