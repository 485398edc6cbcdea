"""Answers `mesh topics`: which topics have members on this gateway, and how many."""

import asyncio
import heapq

from mesh.bus import topic_counts
from mesh.bus.topic_counts import MAX_TOPICS, TopicCounts
from mesh.errors import WireError
from mesh.gateway.fanout.fanout import Fanout
from mesh.telemetry import Complaints, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "call dropped")

TOPICS_PER_TURN = 5_000
"""Topics examined before other events are handled; this many take one to two milliseconds."""


class LiveTopics:
    """Answers questions about the topics of one gateway."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout

    async def answer(self, data: bytes) -> bytes:
        """Return the answer to a call; a malformed question gets an empty answer."""
        try:
            question = topic_counts.decode_question(data)
        except WireError as error:
            _malformed.about("unknown", "bus_messages_malformed", str(error), call=topic_counts.TOPICS)
            return topic_counts.encode(TopicCounts([], 0))
        names = [question.prefix] if question.exact else list(self._fanout)
        found = []
        for number, name in enumerate(names):
            if number % TOPICS_PER_TURN == TOPICS_PER_TURN - 1:
                await asyncio.sleep(0)
            if name.startswith(question.prefix) and (count := self._fanout.members(name)):
                found.append((name, count))
        limit = max(0, min(question.limit, MAX_TOPICS))
        largest = heapq.nsmallest(limit, found, key=lambda each: (-each[1], each[0]))
        return topic_counts.encode(TopicCounts(largest, len(found)))
