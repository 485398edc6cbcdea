"""Follows single broadcasts through one gateway, for `mesh trace`.

A traced broadcast has counts of its own, whose parent is the counts of its topic: every later outcome of
its frames is counted in both. Without a trace in progress, nothing is stored, and the fan-out does not call
this module.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from mesh.bus.frames import Header
from mesh.bus.trace_call import (
    MAX_MESSAGES,
    MAX_SECONDS,
    TRACE,
    Outcome,
    Question,
    TraceAnswer,
    decode_question,
    encode,
)
from mesh.errors import WireError
from mesh.gateway.fanout.delivery_stats import TopicStats
from mesh.gateway.fanout.fanout import Fanout
from mesh.telemetry import Complaints, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "call dropped")

MAX_WATCHES = 100
"""The most traces at the same time."""


class Message:
    """A traced broadcast, with separate counts for each route by which its topic is joined."""

    def __init__(self, header: Header, size: int) -> None:
        self.header = header
        self.size = size
        self.arrived = time.time()
        self.stats: list[TopicStats] = []

    def outcome(self) -> Outcome:
        """Return its outcomes so far."""
        filtered: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        for stats in self.stats:
            filtered.update(stats.filtered)
            dropped.update(stats.dropped)
        header = self.header
        return Outcome(
            header.origin,
            header.sequence,
            header.event,
            self.size,
            self.arrived,
            sum(stats.expected for stats in self.stats),
            sum(stats.delivered for stats in self.stats),
            dict(filtered),
            dict(dropped),
            sum(stats.held for stats in self.stats),
            sum(stats.unsent for stats in self.stats),
        )


class Watch:
    """One trace."""

    def __init__(self, question: Question) -> None:
        self.topic = question.topic
        self.origin = question.origin
        self.limit = max(1, min(question.limit, MAX_MESSAGES))
        self.messages: dict[tuple[str, int], Message] = {}
        self.timer: asyncio.TimerHandle | None = None

    def take(self, header: Header, size: int) -> Message | None:
        """Return the message to follow, or None if this trace does not follow the broadcast."""
        if not header.sequence or (self.origin and header.origin != self.origin):
            return None
        message = self.messages.get((header.origin, header.sequence))
        if message is None and len(self.messages) < self.limit:
            message = self.messages[header.origin, header.sequence] = Message(header, size)
        return message


class Tracing:
    """Answers the questions of traces about one gateway.

    Args:
        fanout: the gateway's fan-out.
        flush: flushes all outboxes, so that each frame is counted as either sent or waiting.
    """

    def __init__(self, fanout: Fanout, flush: Callable[[], None]) -> None:
        self._fanout = fanout
        self._flush = flush
        self._watches: dict[str, Watch] = {}

    async def answer(self, data: bytes) -> bytes:
        """Return the answer to a call; a malformed question is answered with the problem."""
        try:
            question = decode_question(data)
        except WireError as error:
            _malformed.about("unknown", "bus_messages_malformed", str(error), call=TRACE)
            return encode(TraceAnswer(0, [], str(error)))
        return encode(self._answer(question))

    def close(self) -> None:
        """End all traces."""
        for trace in list(self._watches):
            self._end(trace)

    def _answer(self, question: Question) -> TraceAnswer:
        members = sum(stats.members for stats in self._fanout.stats(question.topic))
        watch = self._watches.get(question.trace)
        if watch is None:
            if len(self._watches) >= MAX_WATCHES:
                return TraceAnswer(
                    members, [], f"{MAX_WATCHES} traces are in progress already; try again later"
                )
            watch = Watch(question)
        self._flush()
        answer = TraceAnswer(members, [message.outcome() for message in watch.messages.values()])
        self._prolong(question, watch)
        return answer

    def _prolong(self, question: Question, watch: Watch) -> None:
        if watch.timer is not None:
            watch.timer.cancel()
        self._watches[question.trace] = watch
        seconds = min(question.seconds, MAX_SECONDS)
        if not seconds > 0:
            return self._end(question.trace)
        watch.timer = asyncio.get_running_loop().call_later(seconds, self._end, question.trace)
        self._fanout.tracing = self._trace

    def _end(self, trace: str) -> None:
        watch = self._watches.pop(trace)
        if watch.timer is not None:
            watch.timer.cancel()
        if not self._watches:
            self._fanout.tracing = None

    def _trace(self, stats: TopicStats, header: Header, size: int) -> TopicStats:
        """Return the counts that the fan-out must use for a broadcast."""
        child: TopicStats | None = None
        for watch in self._watches.values():
            message = watch.take(header, size) if watch.topic == stats.topic else None
            if message is not None:
                child = child or stats.child()
                message.stats.append(child)
        return child or stats
