"""Keeps a worker's commands behind the broadcasts they must follow (docs/protocol.md §3, `after`).

What one callback produces takes two ways, the bus and the link; a reply that was made after a broadcast
waits here until that broadcast has passed, a bounded time at most. ordering.py has the whole.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from mesh.telemetry import counters, get_logger

log = get_logger("gateway.order")

HOLDS = 20
"""What waits may be among broadcasts that nobody has read yet: so many times as long, then."""
GIVEN_UP = 10_000
"""Topics of which is remembered that a broadcast did not come."""


class CommandsAfterBroadcasts:
    """Keeps commands behind the broadcasts they must follow.

    Broadcasts of one origin to one topic come in order, those to different topics need not (they may come
    through different proxies); so what waits, waits by origin and topic. `after` never falls from one
    command of a channel to its next, so commands that wait leave in the order they came.

    Args:
        release: takes (origin, command).
        hold_seconds: a command waits at most, or HOLDS times as long while `unread`.
        delivered: whether a broadcast, by (origin, number), has come.
        unread: whether more broadcasts have come than could be handled yet.
    """

    def __init__(
        self,
        release: Any,
        hold_seconds: float,
        delivered: Callable[[str, int], bool],
        unread: Callable[[], bool],
    ) -> None:
        self._release = release
        self._hold_seconds = hold_seconds
        self._delivered = delivered
        self._unread = unread
        self._waiting: dict[tuple[str, str], deque[tuple[int, float, Any]]] = {}
        self._given_up: dict[tuple[str, str], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def passed(self, origin: str, topic: str, sequence: int) -> None:
        """A broadcast was delivered."""
        if self._waiting and (origin, topic) in self._waiting:
            self._release_up_to((origin, topic), sequence)

    def follow(self, origin: str, topic: str, after: int, command: Any) -> None:
        """Carry out `command` once number `after` of `origin`, a broadcast to `topic`, has passed."""
        key = (origin, topic)
        if not after or (
            key not in self._waiting
            and (after <= self._given_up.get(key, 0) or self._delivered(origin, after))
        ):
            self._release(origin, command)
            return
        now = asyncio.get_running_loop().time()
        self._waiting.setdefault(key, deque()).append((after, now + self._hold_seconds, command))
        if self._timer is None:
            self._expire_later(self._hold_seconds)

    def forget(self, origin: str) -> None:
        """`origin` is gone: what waits goes out, nothing more will pass."""
        for key in [each for each in self._waiting if each[0] == origin]:
            self._release_up_to(key, None)
        for key in [each for each in self._given_up if each[0] == origin]:
            del self._given_up[key]

    def _release_up_to(self, key: tuple[str, str], sequence: int | None) -> None:
        waiting = self._waiting[key]
        while waiting and (sequence is None or waiting[0][0] <= sequence):
            self._release(key[0], waiting.popleft()[2])
        if not waiting:
            self._waiting.pop(key, None)

    def _expire_later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        patience = HOLDS * self._hold_seconds if self._unread() else 0.0
        for key, waiting in list(self._waiting.items()):
            late = list(takewhile(lambda each: each[1] + patience <= now, waiting))  # the oldest come first
            if late:
                counters.count("hold_timeouts", len(late))
                log.warning("a broadcast did not pass in time", origin=key[0], commands=len(late))
                if len(self._given_up) >= GIVEN_UP:
                    self._given_up.clear()
                self._given_up[key] = late[-1][0]
                self._release_up_to(key, late[-1][0])
        if self._waiting:
            nearest = min(waiting[0][1] for waiting in self._waiting.values())
            self._expire_later(max(self._hold_seconds / 4 if patience else 0.001, nearest - now))
