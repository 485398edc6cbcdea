"""Keeps a worker's commands behind the broadcasts they must follow (docs/protocol.md §3, `after`).

What one callback produces takes two ways, the bus and the link; a reply that was made after a broadcast
waits here until that broadcast has passed, a bounded time at most.
"""

import asyncio
import heapq
from itertools import count
from typing import Any

from mesh.telemetry import counters, get_logger

log = get_logger("gateway.order")


class Order:
    """Keeps commands behind the broadcasts they must follow.

    `after` never falls from one command of a channel to its next, so commands that wait leave in the
    order they came.
    """

    def __init__(self, release: Any, hold_seconds: float) -> None:
        self._release = release
        self._hold_seconds = hold_seconds
        self._passed: dict[str, int] = {}
        self._waiting: dict[str, list[tuple[int, int, float, Any]]] = {}
        self._arrivals = count()
        self._timer: asyncio.TimerHandle | None = None

    def passed(self, origin: str, sequence: int) -> None:
        """A broadcast of `origin` was delivered."""
        self._passed[origin] = sequence
        if origin in self._waiting:
            self._release_up_to(origin, sequence)

    def follow(self, origin: str, after: int, command: Any) -> None:
        """Carry out `command` once number `after` of `origin` has passed."""
        if after <= self._passed.get(origin, 0):
            self._release(origin, command)
            return
        now = asyncio.get_running_loop().time()
        entry = (after, next(self._arrivals), now + self._hold_seconds, command)
        heapq.heappush(self._waiting.setdefault(origin, []), entry)
        if self._timer is None:
            self._expire_later(self._hold_seconds)

    def forget(self, origin: str) -> None:
        """`origin` is gone: what waits goes out, nothing more will pass."""
        if origin in self._waiting:
            self._release_up_to(origin, max(entry[0] for entry in self._waiting[origin]))
        self._passed.pop(origin, None)

    def _release_up_to(self, origin: str, sequence: int) -> None:
        waiting = self._waiting[origin]
        while waiting and waiting[0][0] <= sequence:
            self._release(origin, heapq.heappop(waiting)[3])
        if not waiting:
            del self._waiting[origin]

    def _expire_later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for origin, waiting in list(self._waiting.items()):
            late = [entry[0] for entry in waiting if entry[2] <= now]
            if late:
                counters.count("hold_timeouts", len(late))
                log.warning("a broadcast did not pass in time", origin=origin, commands=len(late))
                self._passed[origin] = max(self._passed.get(origin, 0), max(late))
                self._release_up_to(origin, max(late))
        if self._waiting:
            nearest = min(entry[2] for waiting in self._waiting.values() for entry in waiting)
            self._expire_later(max(0.001, nearest - now))
