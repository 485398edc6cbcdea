"""Joins that wait for the subscription of their topic, or for a worker, each for a limited time.

While no proxy responds, it is unknown which broadcasts a join would miss. So the join is refused after the
time-out, and the client tries again.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from mesh.bus.contract import Bus
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

CHECK_SECONDS = 0.25


class PendingJoins:
    """The waiting joins.

    Args:
        seconds: the time-out of each join.
        on_expired: called with the joins whose time-out has passed; they no longer wait.

    Attributes:
        deadlines: the waiting joins and their deadlines; a join that is removed no longer waits.
    """

    def __init__(self, seconds: float, on_expired: Callable[[list[GatewayChannel]], None]) -> None:
        self.deadlines: dict[GatewayChannel, float] = {}
        self._seconds = seconds
        self._on_expired = on_expired
        self._timer: asyncio.TimerHandle | None = None

    def add(self, channel: GatewayChannel, deadline: float | None = None) -> None:
        """Let a join wait, until `deadline` in event-loop time if it has waited before."""
        loop = asyncio.get_running_loop()
        self.deadlines[channel] = loop.time() + self._seconds if deadline is None else deadline
        if self._timer is None:
            self._timer = loop.call_later(CHECK_SECONDS, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        expired = [channel for channel, deadline in self.deadlines.items() if deadline <= now]
        for channel in expired:
            del self.deadlines[channel]
        self._timer = loop.call_later(CHECK_SECONDS, self._expire) if self.deadlines else None
        if expired:
            self._on_expired(expired)


class SubscribingJoins:
    """The joins that wait until the bus confirms the subscription of their topic.

    Args:
        bus: the bus.
        seconds: the time-out of each join.
        max_joins: the limit of their number.
        on_subscribed: called with a channel whose subscription is confirmed.
        on_timeout: called with a channel that has waited too long.
    """

    def __init__(
        self,
        bus: Bus,
        seconds: float,
        max_joins: int,
        on_subscribed: Callable[[GatewayChannel], None],
        on_timeout: Callable[[GatewayChannel], None],
    ) -> None:
        self._bus = bus
        self._max_joins = max_joins
        self._on_subscribed = on_subscribed
        self._on_timeout = on_timeout
        self._pending_callbacks = 0
        self._waiting = PendingJoins(seconds, self._timed_out)

    def wait(self, channel: GatewayChannel) -> None:
        """Call `on_subscribed` once every subscription made so far is in force."""
        # The bus still has the callbacks of expired joins, so these count too.
        if self._pending_callbacks >= self._max_joins:
            counters.count("joins_without_bus")
            asyncio.get_running_loop().call_soon(self._on_timeout, channel)
            return
        self._pending_callbacks += 1
        self._waiting.add(channel)
        self._bus.when_subscribed(partial(self._subscribed, channel))

    def forget(self, channel: GatewayChannel) -> None:
        """Remove a channel that no longer waits."""
        self._waiting.deadlines.pop(channel, None)

    def _subscribed(self, channel: GatewayChannel) -> None:
        self._pending_callbacks -= 1
        if self._waiting.deadlines.pop(channel, None) is not None:
            self._on_subscribed(channel)

    def _timed_out(self, expired: list[GatewayChannel]) -> None:
        counters.count("joins_without_bus", len(expired))
        log.warning("the bus does not answer: joins are refused", joins=len(expired))
        for channel in expired:
            self._on_timeout(channel)
