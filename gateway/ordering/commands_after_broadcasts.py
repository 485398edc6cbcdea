"""Holds a worker's commands until the broadcasts that they must follow have passed.

A channel that broadcasts and then replies expects its own client to receive the broadcast first, although
the link may be faster than the bus. Such a command carries `after`, the worker's sequence number of the
last broadcast to the channel's topic (docs/protocol.md §3). It is held here until a broadcast of that
worker to that topic with this number, or a higher one, has been delivered.

Commands wait in one queue for each origin and topic. Broadcasts of one origin to one topic arrive in order,
but those to different topics may travel through different proxies, so one topic must not wait for another.
`after` never decreases from one command of a channel to its next, so a queue is released from its front,
and commands leave it in the order in which they arrived.

A kept broadcast that has come, but not yet recorded (unrecorded.py), has not passed yet.

The wait is limited by `hold_seconds`, because a proxy that dies may take the broadcast with it; ordering.py
explains the guarantee as a whole.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from mesh.gateway.ordering.unrecorded import Unrecorded
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

UNREAD_HOLDS = 20
"""The extension of the wait, in multiples of `hold_seconds`, while the bus has unread broadcasts."""
GIVEN_UP = 10_000
"""The most topics for which a broadcast that did not arrive is remembered."""


class CommandsAfterBroadcasts:
    """Delays commands until the broadcasts that they must follow have passed.

    Args:
        release: called with (origin, command) when a command may be carried out.
        hold_seconds: how long a command waits; 1 + UNREAD_HOLDS times as long while `unread` is true.
        delivered: returns whether the broadcast with (origin, sequence) has been delivered.
        unread: returns whether broadcasts have arrived that have not been read yet.
        unrecorded: the delivered broadcasts that will come again, recorded, and have not passed until then.
    """

    def __init__(
        self,
        release: Any,
        hold_seconds: float,
        delivered: Callable[[str, int], bool],
        unread: Callable[[], bool],
        unrecorded: Unrecorded,
    ) -> None:
        self._release = release
        self._hold_seconds = hold_seconds
        self._delivered = delivered
        self._unread = unread
        self._unrecorded = unrecorded
        self._waiting: dict[tuple[str, str], deque[tuple[int, float, Any]]] = {}
        self._given_up: dict[tuple[str, str], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def passed(self, origin: str, topic: str, sequence: int) -> None:
        """Note a delivered broadcast, and release the commands that waited for it."""
        if self._waiting and (origin, topic) in self._waiting:
            self._release_passed((origin, topic), sequence)

    def recorded(self, origin: str, topic: str, sequence: int) -> None:
        """As `passed`, for a broadcast that was delivered as the recorded one."""
        if self._unrecorded:
            self._unrecorded.passed(origin, topic, sequence)
        if self._waiting and (origin, topic) in self._waiting:
            self._release_passed((origin, topic), sequence, self._delivered)

    def follow(self, origin: str, topic: str, after: int, command: Any) -> None:
        """Release `command` once broadcast number `after` of `origin`, to `topic`, has passed."""
        key = (origin, topic)
        if not after or (
            key not in self._waiting
            and (after <= self._given_up.get(key, 0) or self._has_passed(origin, topic, after))
        ):
            self._release(origin, command)
            return
        now = asyncio.get_running_loop().time()
        self._waiting.setdefault(key, deque()).append((after, now + self._hold_seconds, command))
        if self._timer is None:
            self._expire_later(self._hold_seconds)

    def forget(self, origin: str) -> None:
        """Release everything that waits for broadcasts of `origin`, which is gone."""
        for key in [each for each in self._waiting if each[0] == origin]:
            self._release_up_to(key, None)
        for key in [each for each in self._given_up if each[0] == origin]:
            del self._given_up[key]
        self._unrecorded.forget_origin(origin)

    def _has_passed(self, origin: str, topic: str, sequence: int) -> bool:
        if self._unrecorded and self._unrecorded.awaits(origin, topic, sequence):
            return False
        return self._delivered(origin, sequence)

    def _release_passed(
        self,
        key: tuple[str, str],
        sequence: int,
        delivered: Callable[[str, int], bool] = lambda _origin, _sequence: False,
    ) -> None:
        """Release commands up to the first that must wait.

        Broadcasts up to `sequence` have passed, and later ones if they are `delivered`, except for those
        that have not come recorded.
        """
        (origin, topic), waiting = key, self._waiting[key]
        while waiting:
            after = waiting[0][0]
            if after > sequence and not delivered(origin, after):
                return
            if self._unrecorded and self._unrecorded.awaits(origin, topic, after):
                return
            self._release(origin, waiting.popleft()[2])
        self._waiting.pop(key, None)

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
        extension = UNREAD_HOLDS * self._hold_seconds if self._unread() else 0.0
        for key, waiting in list(self._waiting.items()):
            late = list(takewhile(lambda each: each[1] + extension <= now, waiting))  # oldest first
            if late:
                counters.count("hold_timeouts", len(late))
                log.warning(
                    "a broadcast did not arrive in time: commands are no longer held for it",
                    origin=key[0],
                    commands=len(late),
                )
                if len(self._given_up) >= GIVEN_UP:
                    self._given_up.clear()
                self._given_up[key] = late[-1][0]
                self._unrecorded.passed(*key, late[-1][0])
                self._release_up_to(key, late[-1][0])
        if self._waiting:
            nearest = min(waiting[0][1] for waiting in self._waiting.values())
            self._expire_later(max(self._hold_seconds / 4 if extension else 0.001, nearest - now))
