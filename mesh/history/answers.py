"""The answering side of the calls for histories: a worker's HistoryAnswers turns calls into method calls.

The asking side is reader.py. A page is cut so that it fits into a message of the bus (paging.py); the asker
continues with another query.
"""

from typing import Protocol

from mesh.app import topics
from mesh.app.history import KeptTopics
from mesh.bus.calls import CallHandler
from mesh.errors import HistoryUnavailableError, TopicError, WireError
from mesh.history.contract import (
    FORGET,
    NO_HISTORY,
    READ,
    UNREADABLE,
    Page,
    Query,
    decode_query,
    encode,
)
from mesh.history.paging import MAX_BYTES, cut
from mesh.telemetry import Complaints, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "call dropped")


class HistorySource(Protocol):
    """The histories of all topics that a worker can record, wherever the logs are: its Recorder.

    Each method may raise HistoryUnavailableError, or return UNREADABLE.
    """

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history."""

    async def forget(self, topic: str) -> Page:
        """Remove the history of a topic; return its new position as a page without entries."""


class HistoryAnswers:
    """Answers the calls `history.read` and `history.forget`.

    A question that cannot be answered gets a page that says so, so that the asker does not wait for it.

    Args:
        source: reads and removes histories.
        kept: the topics that have a history.
        max_message_bytes: the largest message of the bus (`bus.max_message_bytes`).
    """

    def __init__(
        self, source: HistorySource, kept: KeptTopics, max_message_bytes: int = 2 * MAX_BYTES
    ) -> None:
        self._source = source
        self._kept = kept
        self._max_bytes = min(MAX_BYTES, max_message_bytes // 2)
        self._handlers: dict[str, CallHandler] = {READ: self._read, FORGET: self._forget}

    def find(self, name: str) -> CallHandler | None:
        """Return what answers a call of this name, for a Responder."""
        return self._handlers.get(name)

    async def _read(self, data: bytes) -> bytes:
        try:
            query = decode_query(data)
            if self._kept.find(topics.check(query.topic)) is None:
                return encode(NO_HISTORY)
            return encode(cut(query, await self._source.read(query), self._max_bytes))
        except (WireError, TopicError) as error:
            return _complain(READ, error)
        except HistoryUnavailableError:
            return encode(UNREADABLE)

    async def _forget(self, data: bytes) -> bytes:
        try:
            topic = topics.check(str(data, "utf-8"))
            if self._kept.find(topic) is None:
                return encode(NO_HISTORY)
            return encode(await self._source.forget(topic))
        except (UnicodeDecodeError, TopicError) as error:
            return _complain(FORGET, error)
        except HistoryUnavailableError:
            return encode(UNREADABLE)


def _complain(call: str, error: Exception) -> bytes:
    _malformed.about("unknown", "bus_messages_malformed", str(error), call=call)
    return encode(UNREADABLE)
