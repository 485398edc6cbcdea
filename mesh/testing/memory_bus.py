"""The bus of a channel case: in memory, with one worker, and observed by the test."""

from mesh.app import topics
from mesh.bus.memory import MemoryBus
from mesh.protocol import payloads
from mesh.protocol.messages import Broadcast, Sender

THE_TEST = Sender("the test", 0, skip=True)
"""The sender of the test's own broadcasts, which the test does not observe."""


class ObservedBus(MemoryBus):
    """A bus in memory that records broadcasts for the test.

    Attributes:
        heard: the broadcasts on topics that the test subscribed to, oldest first.
    """

    def __init__(self) -> None:
        super().__init__("test")
        self.heard: list[Broadcast] = []
        self._listened: set[str] = set()
        self.subscribe(b"")  # the worker receives everything

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and deliver it."""
        if sender != THE_TEST:
            self.hear(topic, event, codec, data)
        return super().publish(topic, event, codec, data, sender)

    def listen(self, topic: str) -> None:
        """Record the broadcasts on `topic`."""
        self._listened.add(topics.check(topic))

    def hear(self, topic: str, event: str, codec: int, data: bytes) -> None:
        """Record a broadcast if the test listens to its topic."""
        if topic in self._listened:
            self.heard.append(Broadcast(topic, event, payloads.decode(codec, data)))
