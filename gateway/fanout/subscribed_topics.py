"""The topics to which a gateway is subscribed: those with members, and for a while those that had some.

To end a subscription costs more than the rest of a channel's end. When many topics lose their last member
at once, because a worker has died or a client with thousands of channels is gone, most are given up later,
a few at a time. A client that joins again before that finds its topic still subscribed.
"""

import asyncio
from time import perf_counter

from mesh import topics
from mesh.bus.contract import Bus
from mesh.tick_budget import TICK_BUDGET_SECONDS

AT_ONCE = 8
"""Topics that one turn of the event loop gives up immediately; the others wait."""
LATER_SECONDS = 2.0
"""How long a topic without members is still heard: phoenix.js joins again after one second."""
MAX_LATE = 100_000
"""Topics that may wait; further ones are given up at once."""
TOPICS_PER_LOOK = 8
"""Topics that are given up between two looks at the clock."""


class SubscribedTopics:
    """The topics, as the bus is told of them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._late: dict[str, None] = {}
        self._at_once = AT_ONCE
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self, topic: str) -> None:
        """A topic has its first member here."""
        if self._late.pop(topic, self) is self:
            self._bus.subscribe(topics.exact(topic))

    def unsubscribe(self, topic: str) -> None:
        """A topic has lost its last member here: end the subscription, now or soon."""
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
        """The bus is about to end."""
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
