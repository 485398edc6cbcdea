"""The broadcasts that a worker received recently, for channels that move to it from another worker.

A channel that intercepts events receives its broadcasts from its worker. While it moves, neither worker
delivers any; the new one finds here what the old one had not received when the channel left. Only
intercepted events of classes that can move are kept; a worker without such a class keeps nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import NamedTuple

from mesh.app.channel import Channel
from mesh.bus.frames import Header

KEPT_SECONDS = 20.0
"""How long a broadcast is kept: at least as long as another worker may not have received it."""
MISSED_SECONDS = 10.0
"""For an origin unknown to the old worker, older broadcasts do not count as missed."""
MAX_KEPT = 20_000
MAX_BYTES = 32_000_000


class RecentBroadcast(NamedTuple):
    """A broadcast, and when it was received."""

    at: float
    topic: str
    header: Header
    data: bytes


class RecentBroadcasts:
    """The recent broadcasts of some events.

    Args:
        events: the events whose broadcasts are kept.
        clock: returns the time in seconds.
    """

    def __init__(self, events: frozenset[str], clock: Callable[[], float] = monotonic) -> None:
        self._events = events
        self._clock = clock
        self._broadcasts: deque[RecentBroadcast] = deque()
        self._by_topic: dict[str, deque[RecentBroadcast]] = {}
        self._bytes = 0

    @classmethod
    def of(cls, channels: Iterable[type[Channel]]) -> "RecentBroadcasts | None":
        """Return an instance for the classes that intercept and can move; None if there are none."""
        events = [each.intercept for each in channels if each.snapshot is not Channel.snapshot]
        found = frozenset(event for intercepted in events for event in intercepted)
        return cls(found) if found else None

    def keeps(self, event: str) -> bool:
        """Return whether broadcasts of this event are kept."""
        return event in self._events

    def add(self, topic: str, header: Header, data: bytes) -> None:
        """Keep a broadcast if its event is kept, and drop the oldest ones."""
        if header.event not in self._events:
            return
        now = self._clock()
        new = RecentBroadcast(now, topic, header, data)
        self._broadcasts.append(new)
        self._by_topic.setdefault(topic, deque()).append(new)
        self._bytes += len(data)
        broadcasts = self._broadcasts
        while (
            broadcasts[0].at < now - KEPT_SECONDS or len(broadcasts) > MAX_KEPT or self._bytes > MAX_BYTES
        ):
            self._forget(broadcasts.popleft())

    def _forget(self, oldest: RecentBroadcast) -> None:
        self._bytes -= len(oldest.data)
        same = self._by_topic[oldest.topic]
        same.popleft()  # the same broadcast, because both queues are in the order of arrival
        if not same:
            del self._by_topic[oldest.topic]

    def seen(self, topic: str) -> dict[str, int]:
        """Return the last number of each origin that has broadcast to `topic`."""
        return {each.header.origin: each.header.sequence for each in self._by_topic.get(topic, ())}

    def after(self, topic: str, seen: dict[str, int]) -> Iterator[tuple[Header, bytes]]:
        """Yield the broadcasts to `topic` that `seen` does not include, in the order of arrival."""
        oldest = self._clock() - MISSED_SECONDS
        for at, _, header, data in self._by_topic.get(topic, ()):
            known = seen.get(header.origin)
            if header.sequence > known if known is not None else at > oldest:
                yield header, data
