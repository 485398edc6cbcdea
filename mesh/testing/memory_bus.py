"""The bus of a channel case: in memory, with one worker, and observed by the test."""

from mesh.app import topics
from mesh.bus.frames import Recorded
from mesh.bus.memory import MemoryBus
from mesh.protocol import payloads
from mesh.protocol.messages import Broadcast, Sender

THE_TEST = Sender("the test", 0, skip=True)
"""The sender of the test's own broadcasts, which the test does not observe."""


class ObservedBus(MemoryBus):
    """A bus in memory that records broadcasts for the test.

    Attributes:
        broadcasts: the broadcasts on topics that the test subscribed to, oldest first.
    """

    def __init__(self) -> None:
        super().__init__("test")
        self.broadcasts: list[Broadcast] = []
        self._observed_topics: set[str] = set()
        self.subscribe(b"")  # the worker receives everything

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and deliver it."""
        if sender != THE_TEST:
            self.record(topic, event, codec, data)
        return super().publish(topic, event, codec, data, sender)

    def publish_recorded(
        self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None, recorded: Recorded
    ) -> int:
        """As `publish`, for a broadcast that the worker has recorded, or a claim."""
        if event and sender != THE_TEST:
            self.record(topic, event, codec, data)
        return super().publish_recorded(topic, event, codec, data, sender, recorded)

    def observe(self, topic: str) -> None:
        """Record the broadcasts on `topic`."""
        self._observed_topics.add(topics.check(topic))

    def record(self, topic: str, event: str, codec: int, data: bytes) -> None:
        """Record a broadcast if the test observes its topic."""
        if topic in self._observed_topics:
            self.broadcasts.append(Broadcast(topic, event, payloads.decode(codec, data)))
