"""Kept broadcasts that were published, but not recorded yet. Pure.

Every worker remembers them, because it may have to record them: if the recorder of their topic dies, or
hands the topic over, the next one records what it had not. Usually a broadcast is removed after a moment,
when its recorded version arrives.

The arguments named `now` are seconds of any one clock.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mesh.protocol.messages import Sender

MAX_ORIGINALS = 50_000
"""The most broadcasts that are remembered; the oldest are dropped beyond it."""
MAX_BYTES = 64_000_000
"""The most bytes of their payloads, and of the names of their topics and events."""
MAX_EARLY = 10_000
"""The most broadcasts that are remembered because they have come recorded first, through another proxy."""


class Original(NamedTuple):
    """A kept broadcast, as its publisher sent it.

    Attributes:
        event: its event.
        codec: the codec of its payload.
        data: its payload, encoded.
        origin: the node that published it.
        sequence: its number among the messages of that node.
        sender: the channel that made it, or None.
        at: when it arrived here.
    """

    event: str
    codec: int
    data: bytes
    origin: str
    sequence: int
    sender: Sender | None
    at: float


class Originals:
    """The broadcasts of all topics that were not recorded yet, in the order of arrival."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str, int], Original] = {}
        self._by_topic: dict[str, dict[tuple[str, int], None]] = {}
        self._bytes = 0
        self._early: dict[tuple[str, str, int], None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the topics with such broadcasts; they may change meanwhile."""
        return iter(list(self._by_topic))

    def add(self, topic: str, original: Original) -> int:
        """Remember a broadcast; return how many older ones were dropped for it."""
        key = topic, original.origin, original.sequence
        if key in self._all or self._is_early(key):
            return 0
        self._all[key] = original
        self._by_topic.setdefault(topic, {})[key[1:]] = None
        self._bytes += _size(topic, original)
        dropped = 0
        while len(self._all) > MAX_ORIGINALS or self._bytes > MAX_BYTES:
            self.remove(*next(iter(self._all)))
            dropped += 1
        return dropped

    def recorded(self, topic: str, origin: str, sequence: int) -> None:
        """Forget a broadcast that has come recorded, also if itself it comes later."""
        key = topic, origin, sequence
        if key in self._all:
            self.remove(*key)
            return
        self._early[key] = None
        if len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]

    def remove(self, topic: str, origin: str, sequence: int) -> None:
        """Forget a broadcast."""
        original = self._all.pop((topic, origin, sequence), None)
        if original is None:
            return
        self._bytes -= _size(topic, original)
        same = self._by_topic[topic]
        del same[origin, sequence]
        if not same:
            del self._by_topic[topic]

    def _is_early(self, key: tuple[str, str, int]) -> bool:
        if key not in self._early:
            return False
        del self._early[key]
        return True

    def of(self, topic: str) -> list[Original]:
        """Return the broadcasts of a topic, the oldest first."""
        return [self._all[(topic, *key)] for key in self._by_topic.get(topic, ())]

    def take(self, topic: str) -> list[Original]:
        """Remove and return the broadcasts of a topic, the oldest first."""
        taken = self.of(topic)
        for each in taken:
            self.remove(topic, each.origin, each.sequence)
        return taken

    def waits_since(self, topic: str) -> float | None:
        """Return when the oldest broadcast of a topic arrived; None if there is none."""
        key = next(iter(self._by_topic.get(topic, ())), None)
        return self._all[(topic, *key)].at if key is not None else None

    def expire(self, before: float) -> int:
        """Drop the broadcasts that arrived before this time; return their number."""
        dropped = 0
        while self._all:
            key, original = next(iter(self._all.items()))
            if original.at >= before:
                break
            self.remove(*key)
            dropped += 1
        return dropped


def _size(topic: str, original: Original) -> int:
    return len(original.data) + len(original.event) + len(topic)
