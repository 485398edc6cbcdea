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

MAX_TRACES = 100
"""The most traces at the same time."""


class TracedBroadcast:
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


class Trace:
    """One trace."""

    def __init__(self, question: Question) -> None:
        self.topic = question.topic
        self.origin = question.origin
        self.limit = max(1, min(question.limit, MAX_MESSAGES))
        self.broadcasts: dict[tuple[str, int], TracedBroadcast] = {}
        self.timer: asyncio.TimerHandle | None = None

    def follow(self, header: Header, size: int) -> TracedBroadcast | None:
        """Return the broadcast to follow, or None if this trace does not follow it."""
        if not header.sequence or (self.origin and header.origin != self.origin):
            return None
        broadcast = self.broadcasts.get((header.origin, header.sequence))
        if broadcast is None and len(self.broadcasts) < self.limit:
            broadcast = self.broadcasts[header.origin, header.sequence] = TracedBroadcast(header, size)
        return broadcast


class Tracing:
    """Answers the questions of traces about one gateway.

    Args:
        fanout: the gateway's fan-out.
        flush: flushes all outboxes, so that each frame is counted as either sent or waiting.
    """

    def __init__(self, fanout: Fanout, flush: Callable[[], None]) -> None:
        self._fanout = fanout
        self._flush = flush
        self._traces: dict[str, Trace] = {}

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
        for trace_id in list(self._traces):
            self._end(trace_id)

    def _answer(self, question: Question) -> TraceAnswer:
        members = sum(stats.members for stats in self._fanout.stats(question.topic))
        trace = self._traces.get(question.trace)
        if trace is None:
            if len(self._traces) >= MAX_TRACES:
                return TraceAnswer(
                    members, [], f"{MAX_TRACES} traces are in progress already; try again later"
                )
            trace = Trace(question)
        self._flush()
        answer = TraceAnswer(members, [broadcast.outcome() for broadcast in trace.broadcasts.values()])
        self._extend(question, trace)
        return answer

    def _extend(self, question: Question, trace: Trace) -> None:
        if trace.timer is not None:
            trace.timer.cancel()
        self._traces[question.trace] = trace
        seconds = min(question.seconds, MAX_SECONDS)
        if not seconds > 0:
            return self._end(question.trace)
        trace.timer = asyncio.get_running_loop().call_later(seconds, self._end, question.trace)
        self._fanout.tracing = self._trace

    def _end(self, trace_id: str) -> None:
        trace = self._traces.pop(trace_id)
        if trace.timer is not None:
            trace.timer.cancel()
        if not self._traces:
            self._fanout.tracing = None

    def _trace(self, stats: TopicStats, header: Header, size: int) -> TopicStats:
        """Return the counts that the fan-out must use for a broadcast."""
        child: TopicStats | None = None
        for trace in self._traces.values():
            broadcast = trace.follow(header, size) if trace.topic == stats.topic else None
            if broadcast is not None:
                child = child or stats.child()
                broadcast.stats.append(child)
        return child or stats
