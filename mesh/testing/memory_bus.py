"""A bus in memory: what is published is delivered at once, in order, to one worker and to the test."""

from collections.abc import Callable

from mesh import payloads, topics
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.bus.subscriptions import Subscription, Subscriptions
from mesh.messages import Broadcast, Sender

THE_TEST = Sender("the test", 0, skip=True)
"""Sends what the test itself broadcasts, and does not hear it."""


class MemoryBus:
    """Implements BusAdapter.

    Attributes:
        node: the id of the only node there is.
        sequence: number of the last broadcast.
        on_broadcast: called with (topic, header, payload bytes) for each: the worker's ear.
        on_published: called with (topic, sequence) before that.
        heard: broadcasts on the topics that the test subscribed to, oldest first.
    """

    def __init__(self) -> None:
        self.node = "test"
        self.sequence = 0
        self.on_broadcast: Callable[[str, Header, bytes], None] = lambda *_: None
        self.on_published: Callable[[str, int], None] = lambda *_: None
        self.heard: list[Broadcast] = []
        self._listened: set[str] = set()
        self._opened = Subscriptions(self.subscribe, self.unsubscribe, _at_once)

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and deliver it."""
        self.sequence += 1
        self.on_published(topic, self.sequence)
        header = Header(VERSION, BROADCAST, self.node, self.sequence, event, codec, sender)
        if sender != THE_TEST:
            self.hear(topic, event, codec, data)
        self._opened.deliver(topic, header, data)
        self.on_broadcast(topic, header, data)
        return self.sequence

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, if it is to the only node there is."""
        return self.publish(topic, event, codec, data, None) if node == self.node else self.sequence

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Broadcasts on a topic, or on all topics that start so."""
        return Subscription(self._opened, pattern, max_queued)

    def subscribe(self, subscription: bytes) -> None:
        """Everything is delivered anyway."""

    def unsubscribe(self, subscription: bytes) -> None:
        """Everything is delivered anyway."""

    def when_subscribed(self, callback: Callable[[], None]) -> None:
        """At once: nothing can be missed."""
        callback()

    @property
    def unread(self) -> bool:
        """Never."""
        return False

    def delivered(self, origin: str, sequence: int) -> bool:
        """Always: what is published is delivered at once."""
        return True

    def publish_kind(self, kind: int, topic: str, event: str, codec: int, data: bytes) -> None:
        """What nodes say to each other: here nobody else is there."""

    def listen(self, topic: str) -> None:
        """Let the test hear the broadcasts on `topic`."""
        self._listened.add(topics.check(topic))

    def hear(self, topic: str, event: str, codec: int, data: bytes) -> None:
        """A broadcast, which the test hears if it listens to its topic."""
        if topic in self._listened:
            self.heard.append(Broadcast(topic, event, payloads.decode(codec, data)))

    def close(self) -> None:
        """The node stops: loops over subscriptions end."""
        self._opened.close()


async def _at_once() -> None:
    """Nothing can be missed."""
