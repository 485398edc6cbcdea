"""Joins that wait: for their topic's subscription, for a worker. Each waits a bounded time.

While no proxy answers nobody can say which broadcasts a join would miss, so it is refused after a while and
its client tries again.
"""

import asyncio
from collections.abc import Callable

from gateway.channels.gateway_channel import GatewayChannel
from mesh.bus.contract import Bus
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.subscribing")

EXPIRE_SECONDS = 0.25


class PendingJoins:
    """The joins that wait.

    Args:
        seconds: each waits at most.
        on_late: called with those that have waited so long, and wait no more.

    Attributes:
        deadlines: who waits, and until when; who is taken out waits no more.
    """

    def __init__(self, seconds: float, on_late: Callable[[list[GatewayChannel]], None]) -> None:
        self.deadlines: dict[GatewayChannel, float] = {}
        self._seconds = seconds
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None

    def add(self, channel: GatewayChannel, deadline: float | None = None) -> None:
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


class SubscribingJoins:
    """The joins that wait until the bus has their topic: a bounded number of them.

    Args:
        bus: what they wait for.
        seconds: they wait at most.
        max_joins: that may wait.
        on_subscribed: called with a channel whose topic the bus has.
        on_silent: called with a channel that has waited too long.
    """

    def __init__(
        self,
        bus: Bus,
        seconds: float,
        max_joins: int,
        on_subscribed: Callable[[GatewayChannel], None],
        on_silent: Callable[[GatewayChannel], None],
    ) -> None:
        self._bus = bus
        self._max_joins = max_joins
        self._on_subscribed = on_subscribed
        self._on_silent = on_silent
        self._asked = 0
        self._waiting = PendingJoins(seconds, self._silent)

    def wait(self, channel: GatewayChannel) -> None:
        """`on_subscribed` once every subscription made so far is in force."""
        if self._asked >= self._max_joins:  # also those that were given up: the bus still knows them
            counters.count("joins_without_bus")
            asyncio.get_running_loop().call_soon(self._on_silent, channel)
            return
        self._asked += 1
        self._waiting.add(channel)
        self._bus.when_subscribed(lambda: self._subscribed(channel))

    def forget(self, channel: GatewayChannel) -> None:
        """The channel no longer waits."""
        self._waiting.deadlines.pop(channel, None)

    def _subscribed(self, channel: GatewayChannel) -> None:
        self._asked -= 1
        if self._waiting.deadlines.pop(channel, None) is not None:
            self._on_subscribed(channel)

    def _silent(self, late: list[GatewayChannel]) -> None:
        counters.count("joins_without_bus", len(late))
        log.warning("the bus does not answer: joins are refused", joins=len(late))
        for channel in late:
            self._on_silent(channel)
