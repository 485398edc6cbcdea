"""The histories of topics in memory. Implements HistoryStore (mesh/history/contract.py).

The total is limited: the history of the topic that was used least recently is dropped first. A topic whose
history was dropped begins a new epoch when it is used again. `recorder.py` has the logs replicated to a
second worker, which holds a copy in its own store.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from time import time

from mesh.app.history import History
from mesh.errors import HistoryUnavailableError
from mesh.history.contract import Entry, Head, Page, Query
from mesh.history.log import Log
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)


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
        self._logs: OrderedDict[str, tuple[Log, History]] = OrderedDict()
        self._sweep: list[str] = []

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return self._clock()

    def __len__(self) -> int:
        return len(self._logs)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._logs))

    def get(self, topic: str) -> Log | None:
        """Return the log of a topic, or None."""
        found = self._logs.get(topic)
        return found[0] if found is not None else None

    def put(self, topic: str, history: History, log: Log) -> None:
        """Keep a log, instead of the one that the topic had."""
        self.drop(topic)
        self._logs[topic] = log, history
        self.bytes += log.memory
        self._limit(topic)

    def drop(self, topic: str) -> None:
        """Drop the log of a topic, if there is one."""
        found = self._logs.pop(topic, None)
        if found is not None:
            self.bytes -= found[0].memory

    def change(self, topic: str, change: Callable[[Log], None]) -> None:
        """Change a log, and keep the limits."""
        log, history = self._logs[topic]
        before = log.memory
        change(log)
        log.trim(history, self._clock())
        self.bytes += log.memory - before
        self._logs.move_to_end(topic)
        self._limit(topic)

    def record(
        self, topic: str, event: str, codec: int, data: bytes, origin: str, sequence: int
    ) -> Entry | None:
        """Give a broadcast the next offset of its topic; return None if it was recorded before."""
        log, history = self._logs[topic]
        before, now = log.memory, self._clock()
        entry = log.record(event, codec, data, origin, sequence, now)
        if entry is not None:
            log.trim(history, now)
            self.bytes += log.memory - before
            self._logs.move_to_end(topic)
            if self.bytes > self._max_bytes:
                self._limit(topic)
        return entry

    def trim_some(self, count: int) -> None:
        """Remove entries that are too old from `count` topics; the next call continues with others."""
        now = self._clock()
        for _ in range(min(count, len(self._logs))):
            if not self._sweep:
                self._sweep = list(self._logs)
            found = self._logs.get(self._sweep.pop())
            if found is not None:
                log, history = found
                before = log.memory
                log.trim(history, now)
                self.bytes += log.memory - before

    def _limit(self, used: str) -> None:
        while self.bytes > self._max_bytes and len(self._logs) > 1:
            topic = next(iter(self._logs))
            if topic == used:
                self._logs.move_to_end(topic)
                continue
            dropped = self._logs[topic][0]
            self.drop(topic)
            if not counters.value("history_topics_dropped"):
                log.warning("histories are dropped", limit=self._max_bytes, setting="history.max_bytes")
            counters.count("history_topics_dropped")
            if self.on_dropped is not None:
                self.on_dropped(topic, dropped)

    # HistoryStore

    async def open(self, topic: str, history: History) -> Head:
        """Return the topic's newest position; begin an epoch if it has no log."""
        if topic not in self._logs:
            self.put(topic, history, Log(self._node))
        return self._logs[topic][0].head

    def append(self, topic: str, entries: Sequence[Entry], done: Callable[[bool], None]) -> None:
        """Store entries that continue the topic's log."""
        found = self._logs.get(topic)
        if found is None or entries[0].offset != found[0].offset + 1:
            done(False)
            return
        for entry in entries:
            self.record(topic, entry.event, entry.codec, entry.data, entry.origin, entry.sequence)
        done(True)

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history. Raises HistoryUnavailableError if it was not opened."""
        return self.read_now(query)

    def read_now(self, query: Query) -> Page:
        """As `read`, at once."""
        found = self._logs.get(query.topic)
        if found is None:
            raise HistoryUnavailableError(f"topic {query.topic!r} has no history on this worker")
        log, history = found
        before = log.memory
        page = log.read(query, history, self._clock())
        self.bytes += log.memory - before
        self._logs.move_to_end(query.topic)
        return page

    async def forget(self, topic: str) -> Head:
        """Remove a topic's entries and begin a new epoch."""
        self.change(topic, lambda log: log.forget(self._node))
        return self._logs[topic][0].head

    def problem(self) -> str:
        """Return an empty string: memory can always be used."""
        return ""

    async def aclose(self) -> None:
        """No effect: there are no connections."""
