"""Joins that wait until the bus has their topic: for a bounded time, and a bounded number of them.

While no proxy answers nobody can say which broadcasts a join would miss, so it is refused after a while and
its client tries again.
"""

import asyncio
from collections.abc import Callable

from gateway.channels.gateway_channel import ChannelState
from gateway.joins.pending import Waiting
from mesh.pubsub import BusAdapter
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.subscribing")


class Subscribing:
    """The joins that wait.

    Args:
        bus: what they wait for.
        seconds: they wait at most.
        max_joins: that may wait.
        on_subscribed: called with a channel whose topic the bus has.
        on_silent: called with a channel that has waited too long.
    """

    def __init__(
        self,
        bus: BusAdapter,
        seconds: float,
        max_joins: int,
        on_subscribed: Callable[[ChannelState], None],
        on_silent: Callable[[ChannelState], None],
    ) -> None:
        self._bus = bus
        self._max_joins = max_joins
        self._on_subscribed = on_subscribed
        self._on_silent = on_silent
        self._asked = 0
        self._waiting = Waiting(seconds, self._silent)

    def wait(self, channel: ChannelState) -> None:
        """`on_subscribed` once every subscription made so far is in force."""
        if self._asked >= self._max_joins:  # also those that were given up: the bus still knows them
            counters.count("joins_without_bus")
            asyncio.get_running_loop().call_soon(self._on_silent, channel)
            return
        self._asked += 1
        self._waiting.add(channel)
        self._bus.when_subscribed(lambda: self._subscribed(channel))

    def forget(self, channel: ChannelState) -> None:
        """The channel no longer waits."""
        self._waiting.deadlines.pop(channel, None)

    def _subscribed(self, channel: ChannelState) -> None:
        self._asked -= 1
        if self._waiting.deadlines.pop(channel, None) is not None:
            self._on_subscribed(channel)

    def _silent(self, late: list[ChannelState]) -> None:
        counters.count("joins_without_bus", len(late))
        log.warning("the bus does not answer: joins are refused", joins=len(late))
        for channel in late:
            self._on_silent(channel)
