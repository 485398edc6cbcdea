"""Joins that wait for something, each for a bounded time; one timer looks after all of them."""

import asyncio
from collections.abc import Callable

from gateway.channels.gateway_channel import ChannelState

EXPIRE_SECONDS = 0.25


class Waiting:
    """The joins that wait.

    Args:
        seconds: each waits at most.
        on_late: called with those that have waited so long, and wait no more.

    Attributes:
        deadlines: who waits, and until when; who is taken out waits no more.
    """

    def __init__(self, seconds: float, on_late: Callable[[list[ChannelState]], None]) -> None:
        self.deadlines: dict[ChannelState, float] = {}
        self._seconds = seconds
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None

    def add(self, channel: ChannelState, deadline: float | None = None) -> None:
        """It waits from now on, or on: until its old deadline, in event-loop time."""
        loop = asyncio.get_running_loop()
        self.deadlines[channel] = loop.time() + self._seconds if deadline is None else deadline
        if self._timer is None:
            self._timer = loop.call_later(EXPIRE_SECONDS, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = [channel for channel, deadline in self.deadlines.items() if deadline <= now]
        for channel in late:
            del self.deadlines[channel]
        self._timer = loop.call_later(EXPIRE_SECONDS, self._expire) if self.deadlines else None
        if late:
            self._on_late(late)
