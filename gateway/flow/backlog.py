"""The frames queued for one slow client; only what its Channel classes allow is dropped. Pure.

Each broadcast follows the policy of its Channel class, on every transport:

- `close`: the broadcast waits, as does everything that is not a broadcast: replies, pushes, control frames.
- `drop_oldest`: at most `max_behind_messages` broadcasts of a topic wait; the oldest is dropped first.
- `latest_only`: a broadcast takes the place of the queued one of the same topic and event. It never
  overtakes a frame that is not a broadcast: if one was queued in between, the older broadcast stays and the
  newer follows, so that at most two of each event wait, the next and the newest.

The remaining frames keep their order. A partly sent frame stays first and is sent completely.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from mesh.gateway.fanout.delivery_stats import CONFLATED, DROPPED_OLDEST, TopicStats

Item = TypeVar("Item")


class BroadcastFrame(bytes):
    """The bytes of a broadcast, made once for all members that share an encoding and a route.

    Attributes:
        stats: counts its outcome for each member.
        event: the broadcast's event.
    """

    stats: TopicStats
    event: str


def broadcast_frame(data: bytes, stats: TopicStats, event: str) -> BroadcastFrame:
    """Mark the bytes of a ready frame as a broadcast."""
    frame = BroadcastFrame(data)
    frame.stats = stats
    frame.event = event
    return frame


def count_lost(frame: bytes, reason: str) -> None:
    """Count a frame that is dropped without having been queued; only broadcasts are counted."""
    if type(frame) is BroadcastFrame:
        frame.stats.lose(reason)


class Backlog(Generic[Item]):
    """The frames queued for one client.

    Attributes:
        dropped: the number of frames dropped during this stall, by reason.
    """

    __slots__ = (
        "_by_topic", "_bytes", "_conflatable", "_conflate_from", "_droppable", "_items", "_next",
        "_sent_of_first", "dropped",
    )  # fmt: skip

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._items: OrderedDict[int, tuple[Item, bytes]] = OrderedDict()
        self._bytes = 0
        self._sent_of_first = 0
        self._next = 0
        self._conflate_from = 0  # a new broadcast may replace only those with this number or a later one
        self._conflatable: dict[tuple[str, str], list[int]] = {}
        self._droppable: OrderedDict[int, None] = OrderedDict()
        self._by_topic: dict[str, deque[int]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return (item for item, _ in self._items.values())

    @property
    def size(self) -> int:
        """The queued bytes that have not been sent."""
        return self._bytes - self._sent_of_first

    def add(self, item: Item, body: bytes, behind: bool = True) -> None:
        """Queue an item.

        Args:
            item: the value that `pop` returns.
            body: the item's bytes, which count against the limits.
            behind: whether the client is behind, so that the policy of the Channel class applies.
        """
        if type(body) is not BroadcastFrame:
            self._append(item, body)
            self._conflate_from = self._next
            return
        stats = body.stats
        stats.wait()
        if stats.policy == "latest_only" and behind:
            self._conflate(item, body)
            return
        number = self._append(item, body)
        if stats.policy == "drop_oldest" and behind:
            self._droppable[number] = None
            queued = self._by_topic.setdefault(stats.topic, deque())
            queued.append(number)
            if len(queued) > stats.max_behind:
                self._drop(queued[0], DROPPED_OLDEST)

    def put_back(self, items: list[tuple[Item, bytes]]) -> None:
        """Queue items before all others. Their bodies are plain bytes: they already count as delivered."""
        first = self._next
        for item, body in items:
            self._append(item, body)
        for number in reversed(range(first, self._next)):
            self._items.move_to_end(number, last=False)

    def trim(self, max_bytes: int) -> bool:
        """Drop the oldest droppable frames until at most `max_bytes` wait; return whether that sufficed."""
        while self.size > max_bytes and self._droppable:
            self._drop(next(iter(self._droppable)), DROPPED_OLDEST)
        return self.size <= max_bytes

    def pop(self) -> Item:
        """Remove and return the first item, which counts as delivered."""
        number, (item, body) = self._items.popitem(last=False)
        self._forget_droppable(number, body)
        self._bytes -= len(body)
        if type(body) is BroadcastFrame:
            body.stats.wait(-1)
        return item

    def clear(self, reason: str) -> None:
        """Drop everything, counted as lost for `reason`."""
        for _, body in self._items.values():
            if type(body) is BroadcastFrame:
                body.stats.wait(-1)
                body.stats.lose(reason)
        self._items.clear()
        self._conflatable.clear()
        self._droppable.clear()
        self._by_topic.clear()
        self._bytes = self._sent_of_first = 0

    # For a stream of bytes

    def data(self, max_bytes: int) -> bytes:
        """Return the bytes to send next; they exceed `max_bytes` by at most one item."""
        size, bodies = -self._sent_of_first, []
        for _, body in self._items.values():
            bodies.append(body)
            size += len(body)
            if size >= max_bytes:
                break
        data = b"".join(bodies)
        return data[self._sent_of_first :] if self._sent_of_first else data

    def advance(self, sent: int, committed: int = 0) -> None:
        """Note that `sent` bytes of `data` were sent; the next `committed` bytes are never dropped."""
        position = self._sent_of_first + sent
        self._sent_of_first = 0
        while self._items:
            size = len(next(iter(self._items.values()))[1])
            if size > position:
                break
            self.pop()
            position -= size
        self._sent_of_first = position
        ahead = position + committed
        for number, (_, body) in self._items.items():
            if ahead <= 0:
                break
            self._forget_droppable(number, body)
            ahead -= len(body)

    # What may be dropped

    def _append(self, item: Item, body: bytes) -> int:
        number = self._next
        self._next += 1
        self._items[number] = (item, body)
        self._bytes += len(body)
        return number

    def _conflate(self, item: Item, body: BroadcastFrame) -> None:
        numbers = self._conflatable.setdefault((body.stats.topic, body.event), [])
        if numbers and numbers[-1] >= self._conflate_from:
            number = numbers[-1]
            _, old = self._items[number]
            self._items[number] = (item, body)
            self._bytes += len(body) - len(old)
            self._count_dropped(old, CONFLATED)
            return
        if len(numbers) == 2:
            self._remove(numbers.pop(), CONFLATED)
        numbers.append(self._append(item, body))

    def _drop(self, number: int, reason: str) -> None:
        self._forget_droppable(number, self._items[number][1])
        self._remove(number, reason)

    def _remove(self, number: int, reason: str) -> None:
        _, body = self._items.pop(number)
        self._bytes -= len(body)
        self._count_dropped(body, reason)

    def _count_dropped(self, body: bytes, reason: str) -> None:
        self.dropped[reason] += 1
        if type(body) is BroadcastFrame:
            body.stats.wait(-1)
            body.stats.lose(reason)

    def _forget_droppable(self, number: int, body: bytes) -> None:
        """Remove a frame from those that may be dropped."""
        if type(body) is not BroadcastFrame:
            return
        if number in self._droppable:
            del self._droppable[number]
            topic = body.stats.topic
            queued = self._by_topic[topic]
            queued.remove(number)  # at or near the front
            if not queued:
                del self._by_topic[topic]
        elif self._conflatable:
            key = (body.stats.topic, body.event)
            numbers = self._conflatable.get(key, [])
            if number in numbers:
                numbers.remove(number)
                if not numbers:
                    del self._conflatable[key]
