"""Broadcasts for code that reads them in a loop: background tasks of a worker, and scripts.

Each Subscription has a bounded queue of encoded broadcasts. A broadcast is decoded when it is read.

A broadcast of a topic with a history arrives twice: as its publisher sent it, and recorded, with a
position. A node that runs the application knows which broadcasts are kept, and ignores the former. A
program that does not know delivers whichever arrives first.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Self

from mesh.app import topics
from mesh.bus import delivery
from mesh.bus.contract import Bus, Keeps
from mesh.bus.frames import DIRECT, RECORDED, Header, Received, original
from mesh.errors import ChannelError, DecodeError, NodeError
from mesh.protocol import payloads
from mesh.protocol.messages import Broadcast
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "broadcast dropped")

MAX_QUEUED_BYTES = 64_000_000
"""The most payload bytes that wait in one subscription, regardless of their number."""
MAX_REMEMBERED = 50_000
"""The most broadcasts that are remembered in order to recognise their recorded versions, and vice versa."""


class Subscriptions:
    """All subscriptions of one node.

    Args:
        bus: the bus, which calls `deliver` with each broadcast.
        timeout_seconds: how long entering a subscription may take before it raises UnreachableError; None:
            it waits.

    Attributes:
        prefixes: the subscriptions to all topics with a prefix, by prefix.
    """

    def __init__(self, bus: Bus, timeout_seconds: float | None = None) -> None:
        self._bus = bus
        self._timeout_seconds = timeout_seconds
        self._closed = False
        self._exact: dict[str, dict[Subscription, None]] = {}
        self.prefixes: dict[str, dict[Subscription, None]] = {}
        self._keeps: Keeps | None = None
        self._delivered: OrderedDict[tuple[str, int], None] = OrderedDict()

    def use(self, keeps: Keeps | None) -> None:
        """Set what returns whether broadcasts of (topic, event) are kept; None if it is not known."""
        self._keeps = keeps

    def deliver(self, topic: str, header: Received, data: bytes) -> None:
        """Deliver a broadcast of the bus to the subscriptions that match its topic."""
        if not (self._exact or self.prefixes) or self._comes_again(topic, header):
            return
        for subscription in self._exact.get(topic, ()):
            subscription.put(topic, header, data)
        for prefix, subscriptions in self.prefixes.items():
            if topic.startswith(prefix):
                for subscription in subscriptions:
                    subscription.put(topic, header, data)

    def _comes_again(self, topic: str, header: Received) -> bool:
        """Return whether a broadcast came before or will come recorded, or is the claim of a recorder."""
        if header.kind == DIRECT:
            return False
        if header.kind == RECORDED and not header.event:
            return True
        if self._keeps is not None:
            return header.kind != RECORDED and self._keeps(topic, header.event)
        first = original(header)
        key = first.origin, first.sequence
        if key in self._delivered:
            return True
        self._delivered[key] = None
        if len(self._delivered) > MAX_REMEMBERED:
            self._delivered.popitem(last=False)
        return False

    def add(self, subscription: "Subscription") -> None:
        """Deliver broadcasts to this subscription from now on.

        Raises:
            NodeError: after `close`.
        """
        if self._closed:
            raise NodeError(f"cannot subscribe to {subscription.pattern!r}: the node has stopped")
        group, key = self._group(subscription.pattern)
        group.setdefault(key, {})[subscription] = None
        self._bus.subscribe(topics.prefix(subscription.pattern))

    def remove(self, subscription: "Subscription") -> None:
        """Stop delivering broadcasts to this subscription."""
        group, key = self._group(subscription.pattern)
        if group.get(key, {}).pop(subscription, self) is self:
            return
        if not group[key]:
            del group[key]
        self._bus.unsubscribe(topics.prefix(subscription.pattern))

    async def confirm(self) -> None:
        """Return when all subscriptions made so far are in force."""
        if self._timeout_seconds is None:
            await delivery.subscribed(self._bus)
        else:
            await delivery.wait_until_subscribed(self._bus, self._timeout_seconds)

    def close(self) -> None:
        """End every loop over a subscription: the node stops."""
        self._closed = True
        for group in (self._exact, self.prefixes):
            for subscriptions in group.values():
                for subscription in subscriptions:
                    subscription.end()
            group.clear()

    def _group(self, pattern: str) -> "tuple[dict[str, dict[Subscription, None]], str]":
        return (self.prefixes, pattern[:-1]) if pattern.endswith("*") else (self._exact, pattern)


class Subscription:
    """The broadcasts on one topic or pattern. Implements mesh.app.pubsub.Subscription.

    Attributes:
        pattern: a topic, or a prefix followed by `*`.
        dropped: the number of broadcasts that did not fit into the queue.
    """

    def __init__(self, subscriptions: Subscriptions, pattern: str, max_queued: int) -> None:
        self.pattern = pattern
        self.dropped = 0
        self._subscriptions = subscriptions
        self._max_queued = max_queued
        self._queue: deque[tuple[str, Header, bytes]] = deque()
        self._bytes = 0
        self._wakeup = asyncio.Event()
        self._entered = False
        self._ended = False
        self._dropped_since_empty = 0  # since the queue was last empty

    async def __aenter__(self) -> Self:
        """Subscribe; return when the subscription is in force."""
        if self._entered:
            raise ChannelError(f"the subscription to {self.pattern!r} is already open; make another one")
        self._subscriptions.add(self)
        self._entered = True
        self._ended = False
        try:
            await self._subscriptions.confirm()
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Unsubscribe, and discard queued broadcasts."""
        self._leave()

    async def __aiter__(self) -> AsyncIterator[Broadcast]:
        """Yield each broadcast; end when the node stops."""
        entered_here = not self._entered
        if entered_here:
            await self.__aenter__()
        try:
            while True:
                while self._queue:
                    broadcast = self._take()
                    if broadcast is not None:
                        yield broadcast
                if self._ended:
                    return
                self._wakeup.clear()
                await self._wakeup.wait()
        finally:
            if entered_here:
                self._leave()

    def put(self, topic: str, header: Header, data: bytes) -> None:
        """Queue a broadcast; drop the oldest if the queue exceeds its bounds."""
        self._queue.append((topic, header, data))
        self._bytes += len(data)
        while len(self._queue) > self._max_queued or self._bytes > MAX_QUEUED_BYTES:
            self._bytes -= len(self._queue.popleft()[2])
            self._drop()
        self._wakeup.set()

    def end(self) -> None:
        """End the loop after the queued broadcasts."""
        self._ended = True
        self._wakeup.set()

    def _leave(self) -> None:
        self._subscriptions.remove(self)
        self._queue.clear()
        self._bytes = 0
        self._entered = False
        self.end()

    def _drop(self) -> None:
        self.dropped += 1
        counters.count("subscription_broadcasts_dropped")
        self._dropped_since_empty += 1
        if self._dropped_since_empty == 1:
            log.warning("a subscription is not read in time", pattern=self.pattern, limit=self._max_queued)

    def _take(self) -> Broadcast | None:
        topic, header, data = self._queue.popleft()
        self._bytes -= len(data)
        if not self._queue:
            self._dropped_since_empty = 0
        try:
            payload = payloads.read_message(header.event, header.codec, data)
            return Broadcast(topic, header.event, payload)
        except DecodeError as error:
            fields = {"topic": topic, "broadcast": header.event}
            _malformed.about(header.origin, "bus_messages_malformed", str(error), **fields)
            return None
