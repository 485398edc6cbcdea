"""The histories of topics in Redis or Valkey. Implements HistoryStore (mesh/history/contract.py).

redis_stream.py describes what is stored. What was appended goes to the server in the order of the calls, in
one pipeline at a time, with all that has come since the last one was sent.

**When is an epoch continued?** The server says which is the last offset, never this process. A topic begins
a new epoch if its stream does not exist, if it is behind what was stored from here, or if the server has
restarted since the last entry and has no append-only file: then it may have loaded an older state.

**An append that failed may have been stored**, if the connection ended before the answer. Open the topic
again, and read the entries above the last known offset, before it is continued. No offset is given twice
meanwhile: the server accepts only the entry after the last one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import time
from typing import Any

from mesh import contexts
from mesh.app.history import History
from mesh.errors import HistoryUnavailableError, SettingsError
from mesh.history import redis_reading, redis_stream
from mesh.history.contract import Entry, Head, Page, Query
from mesh.history.log import new_epoch
from mesh.history.redis_appends import Append, OpenTopic
from mesh.history.redis_connection import OPERATION_SECONDS, RedisConnection, Script
from mesh.history.redis_stream import Argument, Fields, ForeignEntryError
from mesh.settings.history import HistorySettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

MAX_WAITING_BYTES = 64_000_000
"""The most bytes that wait for the server; entries above it are refused."""
MAX_TOPICS = 200_000
"""The most topics that are open. The one used least recently is closed, as by `drop`. A recorder has fewer
topics; the others are those that were only read."""
PIPELINE_BYTES = 4_000_000
"""What is sent at a time, so that it arrives in time."""
TRIES = 3
"""How often a stream is read whose epoch changes meanwhile."""
OPEN, APPEND, FORGET = map(Script, (redis_stream.OPEN, redis_stream.APPEND, redis_stream.FORGET))
CHECK_TOPIC = "$check"
"""In place of a topic, in the key with which the server is checked. No topic begins with a dollar sign."""


class RedisStore:
    """The streams of all topics. Use it in one event loop.

    Args:
        settings: the settings of the section `history`.
        clock: returns the Unix time in seconds.

    Raises:
        SettingsError: if redis-py is not installed, or `history.redis_url` is missing or invalid.
    """

    immediate = False

    def __init__(self, settings: HistorySettings, clock: Callable[[], float] = time) -> None:
        if settings.redis_url is None:
            raise SettingsError("history.redis_url is missing: want the address of Redis or Valkey")
        self._prefix = settings.redis_prefix
        self._idle_seconds = settings.redis_idle_seconds
        self._clock = clock
        self._connection = RedisConnection(settings.redis_url, self._prefix + CHECK_TOPIC)
        self._topics: OrderedDict[str, OpenTopic] = OrderedDict()
        self._queue: list[Append] = []
        self._waiting_bytes = 0
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._sender: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Connect; the other methods do it as well."""
        self._connection.start()
        if self._sender is None and not self._closed:
            self._sender = asyncio.get_running_loop().create_task(
                self._send_all(), name="history", context=contexts.fresh()
            )

    async def open(self, topic: str, history: History) -> Head:
        """Return the topic's newest position; begin an epoch if the server has none, or an outdated one.

        Raises:
            HistoryUnavailableError: if the server cannot be reached, or the key holds something else.
        """
        self.start()
        head = await self._open(topic, history, self._topics.get(topic))
        self._remember(OpenTopic(topic, history, head))
        return head

    def drop(self, topic: str) -> None:
        """Close a topic: its history stays in Redis, and this process remembers nothing about it."""
        self._topics.pop(topic, None)

    def append(self, topic: str, entries: Sequence[Entry], done: Callable[[bool], None]) -> None:
        """Store entries whose offsets continue those of the topic; `done` is called later.

        Entries that are refused are counted as `history_store_failures`.
        """
        self.start()
        opened = self._topics.get(topic)
        if opened is not None:
            self._topics.move_to_end(topic)
        new = Append(opened, entries, done)
        if self._waiting_bytes + new.size > MAX_WAITING_BYTES:
            new.refuse()
        self._waiting_bytes += new.size
        self._queue.append(new)
        self._idle.clear()
        self._work.set()
        if self._closed:
            self._finish(len(self._queue), set())

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history.

        Raises:
            HistoryUnavailableError: as `open`, and if the topic was not opened.
        """
        opened = self._opened(query.topic)
        key = self._prefix + query.topic
        for _ in range(TRIES):
            try:
                page = await redis_reading.read(
                    partial(self._range, key),
                    query,
                    opened.history,
                    self._clock(),
                    partial(self._is_current, opened),
                )
            except ForeignEntryError as error:
                raise redis_stream.foreign(key, error) from None
            if page is not None:
                return page
            await self._open(query.topic, opened.history, opened)
        raise HistoryUnavailableError(f"topic {query.topic!r} has changed while its history was read")

    async def forget(self, topic: str) -> Head:
        """Remove a topic's entries and begin a new epoch. Raises HistoryUnavailableError as `read`."""
        history = self._opened(topic).history
        epoch, milliseconds = new_epoch(), self._milliseconds(history)

        def arguments() -> list[Argument]:
            return [epoch, self._connection.run, milliseconds]

        await self._script(FORGET, self._prefix + topic, arguments)
        head = Head(epoch, 0)
        self._remember(OpenTopic(topic, history, head))
        return head

    def problem(self) -> str:
        """Return why the server cannot be used now; empty if it can."""
        self.start()
        return self._connection.problem

    async def flush(self) -> None:
        """Return once what was appended is stored, or refused."""
        await self._idle.wait()

    async def aclose(self) -> None:
        """Store what waits, if that succeeds within a moment, and close the connections."""
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.warning("broadcasts were not stored before the end", broadcasts=len(self._queue))
        self._closed = True
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait([self._sender])
        self._finish(len(self._queue), set())
        await self._connection.aclose()

    # Sending

    async def _send_all(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._queue:
                batch = self._next_batch()
                try:
                    stored = await self._send(batch)
                except Exception as error:
                    counters.count("handlers_failed")
                    log.error("sending to the history store failed", exc_info=error)
                    stored = set()
                self._finish(len(batch), stored)
            self._idle.set()

    def _next_batch(self) -> list[Append]:
        """Return the first appends that wait, at least one, as many as are sent at a time."""
        size = count = 0
        for each in self._queue:
            size += each.size
            if count and size > PIPELINE_BYTES:
                break
            count += 1
        return self._queue[:count]

    async def _send(self, batch: list[Append]) -> set[OpenTopic]:
        """Send appends in one pipeline; return the topics for which the server has stored them."""
        by_topic: dict[OpenTopic, list[Entry]] = {}
        for each in batch:
            if each.topic is None or each.topic.failed:
                continue
            if each.entries is None:
                each.topic.failed = True  # the following ones of the topic as well
            else:
                by_topic.setdefault(each.topic, []).extend(each.entries)
                each.sent = True
        if not by_topic:
            return set()
        calls = [(self._prefix + topic.name, self._arguments(topic, by_topic[topic])) for topic in by_topic]
        try:
            results = await self._connection.scripts(APPEND, calls)
        except HistoryUnavailableError:
            return set()
        stored = {topic for topic, result in zip(by_topic, results, strict=True) if result == 1}
        for topic in stored:
            topic.stored = by_topic[topic][-1].offset
        return stored

    def _arguments(self, topic: OpenTopic, entries: list[Entry]) -> list[Argument]:
        first = topic.marks.add(entries, self._clock())
        milliseconds = self._milliseconds(topic.history)
        return redis_stream.append_arguments(
            topic.epoch, milliseconds, self._connection.run, first, entries
        )

    def _finish(self, count: int, stored: set[OpenTopic]) -> None:
        """Tell the first appends that wait whether they were stored."""
        batch = self._queue[:count]
        del self._queue[:count]
        for each in batch:
            self._waiting_bytes -= each.size
            success = each.sent and each.topic in stored
            if not success:
                counters.count("history_store_failures", each.count)
                if each.topic is not None:
                    each.topic.failed = True
            try:
                each.done(success)
            except Exception as error:
                counters.count("handlers_failed")
                log.error("handling the answer of the history store failed", exc_info=error)

    # Parts

    async def _open(self, topic: str, history: History, known: OpenTopic | None) -> Head:
        key, connection = self._prefix + topic, self._connection
        stored = Head(known.epoch, known.stored) if known is not None else Head("", 0)
        begun, milliseconds = new_epoch(), self._milliseconds(history)

        def arguments() -> list[Argument]:
            return redis_stream.open_arguments(
                begun, milliseconds, connection.run, connection.trusted, stored
            )

        run = None
        while run != connection.run:  # a new connection may belong to another run of the server
            run = connection.run
            newest = await self._script(OPEN, key, arguments)
        try:
            return redis_stream.head(*newest)
        except ForeignEntryError as error:
            raise redis_stream.foreign(key, error) from None

    def _is_current(self, opened: OpenTopic, head: Head, run: str) -> bool:
        """Return whether a stream with this newest position has everything that was ever stored."""
        behind = head.epoch == opened.epoch and head.offset < opened.stored
        return not behind and (run == self._connection.run or self._connection.trusted)

    async def _range(self, key: str, upper: str, lower: str, count: int) -> list[tuple[bytes, Fields]]:
        def operation(client: Any) -> Awaitable[list[tuple[bytes, Fields]]]:
            found: Awaitable[list[tuple[bytes, Fields]]] = client.xrevrange(key, upper, lower, count)
            return found

        try:
            return await self._connection.call(operation)
        except self._connection.refusals:
            raise redis_stream.not_a_stream(key) from None

    async def _script(self, script: Script, key: str, arguments: Callable[[], list[Argument]]) -> Any:
        try:
            return await self._connection.script(script, key, arguments)
        except self._connection.refusals:
            raise redis_stream.not_a_stream(key) from None

    def _milliseconds(self, history: History) -> int:
        """Return how long a stream lives without another entry."""
        return round(1000 * max(history.seconds, self._idle_seconds))

    def _opened(self, topic: str) -> OpenTopic:
        opened = self._topics.get(topic)
        if opened is None:
            raise HistoryUnavailableError(f"topic {topic!r} has no history on this worker")
        self._topics.move_to_end(topic)
        return opened

    def _remember(self, opened: OpenTopic) -> None:
        self._topics[opened.name] = opened
        self._topics.move_to_end(opened.name)
        if len(self._topics) > MAX_TOPICS:
            self._topics.popitem(last=False)
