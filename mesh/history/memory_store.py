"""The histories of topics in memory. Implements HistoryStore (mesh/history/contract.py).

The total is limited: the history of the topic that was used least recently is dropped first, but before it
the topics of which nothing was recorded since they began, because any client can make those by asking for
their histories. A topic whose history was dropped begins a new epoch when it is used again. `recorder.py`
has the logs replicated to a second worker, which holds a copy in its own store.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from time import time

from mesh.app.history import History
from mesh.errors import HistoryUnavailableError
from mesh.history.contract import Entry, Head, Page, Position, Query
from mesh.history.log import Log
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)


class _Kept:
    """A log, its limits, and how much of its memory the store has counted."""

    __slots__ = ("counted", "empty", "history", "log")

    def __init__(self, log: Log, history: History) -> None:
        self.log = log
        self.history = history
        self.counted = 0
        self.empty = False


class MemoryStore:
    """The logs of one worker.

    Args:
        node: the id of the worker.
        max_bytes: the most bytes of memory for all logs.
        clock: returns the Unix time in seconds.

    Attributes:
        bytes: the memory in use, estimated.
        on_dropped: called with (topic, log) of each log that is dropped because of the limit.
    """

    immediate = True

    def __init__(self, node: str, max_bytes: int, clock: Callable[[], float] = time) -> None:
        self.bytes = 0
        self.on_dropped: Callable[[str, Log], None] | None = None
        self._node = node
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._empty: OrderedDict[str, None] = OrderedDict()
        self._sweep: list[str] = []

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return self._clock()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, topic: object) -> bool:
        return topic in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._kept))

    def get(self, topic: str) -> Log | None:
        """Return the log of a topic, or None. Its entries must be changed only with `change`."""
        kept = self._kept.get(topic)
        return kept.log if kept is not None else None

    def put(self, topic: str, history: History, log: Log) -> None:
        """Keep a log, instead of the one that the topic had."""
        self.drop(topic)
        kept = self._kept[topic] = _Kept(log, history)
        log.trim(history, self._clock())
        self._used(topic, kept)

    def drop(self, topic: str) -> None:
        """Drop the log of a topic, if there is one."""
        kept = self._kept.pop(topic, None)
        if kept is not None:
            self.bytes -= kept.counted
            self._empty.pop(topic, None)

    def change(self, topic: str, change: Callable[[Log], None]) -> None:
        """Change a log, and keep the limits. Raises KeyError if the topic has none."""
        kept = self._kept[topic]
        try:
            change(kept.log)
        finally:
            kept.log.trim(kept.history, self._clock())
            self._used(topic, kept)

    def record(
        self, topic: str, event: str, codec: int, data: bytes, origin: str, sequence: int
    ) -> Entry | None:
        """Give a broadcast the next offset of its topic; return None if it was recorded before.

        Raises:
            KeyError: if the topic has no log.
        """
        kept, now = self._kept[topic], self._clock()
        log = kept.log
        entry = log.record(event, codec, data, origin, sequence, now)
        if entry is not None:
            log.trim(kept.history, now)
            memory = log.memory
            self.bytes += memory - kept.counted
            kept.counted = memory
            if kept.empty:
                self._note_empty(topic, kept)
            self._kept.move_to_end(topic)
            if self.bytes > self._max_bytes:
                self._limit(kept)
        return entry

    def follow(self, topic: str, term: int, recorder: str, head: Position, entry: Entry | None) -> None:
        """As `Log.follow`, and keep the limits. Raises KeyError if the topic has no log."""
        kept = self._kept[topic]
        kept.log.follow(term, recorder, head, entry)
        kept.log.trim(kept.history, entry.at if entry is not None else self._clock())
        self._used(topic, kept)

    def trim_some(self, count: int) -> None:
        """Remove entries that are too old from `count` topics; the next call continues with others."""
        now = self._clock()
        for _ in range(min(count, len(self._kept))):
            if not self._sweep:
                self._sweep = list(self._kept)
            kept = self._kept.get(self._sweep.pop())
            if kept is not None:
                kept.log.trim(kept.history, now)
                self._count(kept)

    def _used(self, topic: str, kept: _Kept) -> None:
        """Count the memory of a log that was used, and keep the limit of all."""
        memory = kept.log.memory
        self.bytes += memory - kept.counted
        kept.counted = memory
        self._kept.move_to_end(topic)
        if kept.empty or not kept.log.offset:
            self._note_empty(topic, kept)
        if self.bytes > self._max_bytes:
            self._limit(kept)

    def _note_empty(self, topic: str, kept: _Kept) -> None:
        kept.empty = not kept.log.offset
        self._empty.pop(topic, None)
        if kept.empty:
            self._empty[topic] = None

    def _count(self, kept: _Kept) -> None:
        memory = kept.log.memory
        self.bytes += memory - kept.counted
        kept.counted = memory

    def _limit(self, used: _Kept) -> None:
        """Drop other logs until the total is within the limit; the last one loses its oldest entries."""
        while self.bytes > self._max_bytes and len(self._kept) > 1:
            victim = next(iter(self._empty), None)
            if victim is None or self._kept[victim] is used:
                victim = next(iter(self._kept))
            self._drop_topic(victim)
        while self.bytes > self._max_bytes and used.log.entries:
            used.log.drop_oldest()
            self._count(used)
        if self.bytes > self._max_bytes:
            used.log.drop_waiting()
            self._count(used)

    def _drop_topic(self, topic: str) -> None:
        dropped = self._kept[topic].log
        self.drop(topic)
        if not counters.value("history_topics_dropped"):
            log.warning("histories are dropped", limit=self._max_bytes, setting="history.max_bytes")
        counters.count("history_topics_dropped")
        if self.on_dropped is not None:
            self.on_dropped(topic, dropped)

    # HistoryStore

    async def open(self, topic: str, history: History) -> Head:
        """Return the topic's newest position; begin an epoch if it has no log."""
        kept = self._kept.get(topic)
        if kept is None:
            self.put(topic, history, Log(self._node))
            kept = self._kept[topic]
        kept.history = history
        return kept.log.head

    def append(self, topic: str, entries: Sequence[Entry], done: Callable[[bool], None]) -> None:
        """Store entries that continue the topic's log."""
        kept = self._kept.get(topic)
        offset = kept.log.offset if kept is not None else 0
        if kept is None or [each.offset for each in entries] != list(
            range(offset + 1, offset + 1 + len(entries))
        ):
            done(False)
            return
        for entry in entries:
            kept.log.append(entry)
        kept.log.trim(kept.history, self._clock())
        self._used(topic, kept)
        done(True)

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history. Raises HistoryUnavailableError if it was not opened."""
        return self.read_now(query)

    def read_now(self, query: Query) -> Page:
        """As `read`, at once."""
        kept = self._opened(query.topic)
        page = kept.log.read(query, kept.history, self._clock())
        self._used(query.topic, kept)
        return page

    async def forget(self, topic: str) -> Head:
        """Remove a topic's entries and begin a new epoch. Raises HistoryUnavailableError as `read`."""
        kept = self._opened(topic)
        self.change(topic, lambda log: log.forget(self._node))
        return kept.log.head

    def problem(self) -> str:
        """Return an empty string: memory can always be used."""
        return ""

    async def flush(self) -> None:
        """Return at once: everything is stored."""

    async def aclose(self) -> None:
        """No effect: there are no connections."""

    def _opened(self, topic: str) -> _Kept:
        kept = self._kept.get(topic)
        if kept is None:
            raise HistoryUnavailableError(f"topic {topic!r} has no history on this worker")
        return kept
