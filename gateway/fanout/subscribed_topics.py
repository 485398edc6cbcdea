"""The topics to which a gateway is subscribed: those with members, and for a while those that had some.

Ending a subscription costs more than everything else at the end of a channel. When many topics lose their
last member at once, because a worker has died or a client with thousands of channels is gone, most of the
subscriptions are ended later, a few at a time. A client that rejoins before that finds its topic still
subscribed.
"""

import asyncio
from time import perf_counter

from mesh.app import topics
from mesh.bus.contract import Bus
from mesh.tick_budget import TICK_BUDGET_SECONDS

AT_ONCE = 8
"""Subscriptions that are ended immediately in one turn of the event loop; the others are ended later."""
LATER_SECONDS = 2.0
"""How long a topic without members stays subscribed: phoenix.js rejoins after one second."""
MAX_LATE = 100_000
"""Topics without members that may stay subscribed; the subscriptions of further ones end at once."""
TOPICS_PER_LOOK = 8
"""Subscriptions that are ended between two checks of the clock."""


class SubscribedTopics:
    """Subscribes and unsubscribes a gateway's topics on the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._late: dict[str, None] = {}
        self._at_once = AT_ONCE
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self, topic: str) -> None:
        """Subscribe to a topic that has its first member here."""
        if self._late.pop(topic, self) is self:
            self._bus.subscribe(topics.exact(topic))

    def unsubscribe(self, topic: str) -> None:
        """End the subscription of a topic that has lost its last member here, now or later."""
        if self._at_once == AT_ONCE:
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._at_once or len(self._late) >= MAX_LATE:
            self._at_once -= self._at_once > 0
            self._bus.unsubscribe(topics.exact(topic))
            return
        self._late[topic] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATER_SECONDS, self._turn)

    def close(self) -> None:
        """Stop; the bus is about to be closed."""
        self._late.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _next_turn(self) -> None:
        self._at_once = AT_ONCE

    def _turn(self) -> None:
        self._timer = None
        late, stop = self._late, perf_counter() + TICK_BUDGET_SECONDS
        while late:
            for _ in range(min(TOPICS_PER_LOOK, len(late))):
                self._bus.unsubscribe(topics.exact(late.popitem()[0]))
            if perf_counter() > stop:
                break
        if late:
            self._timer = asyncio.get_running_loop().call_later(0, self._turn)
