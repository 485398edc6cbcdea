"""The answering side of the calls for histories: a worker's HistoryAnswers turns calls into method calls.

The asking side is reader.py. A page is cut so that it fits into a message of the bus; the asker continues
with another query.
"""

from collections.abc import Iterable
from typing import Protocol

from mesh.app import topics
from mesh.bus.calls import CallHandler
from mesh.errors import ChannelError, HistoryUnavailableError, TopicError, WireError
from mesh.history.contract import FORGET, READ, UNREADABLE, Entry, Page, Query, decode_query, encode
from mesh.telemetry import Complaints, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "call dropped")

MAX_PAGE_BYTES = 1_000_000
"""The size of a page above which it is cut. One entry is always sent, whatever its size."""
_FIELDS_BYTES = 32
"""The most bytes of an entry's numbers in msgpack, and of the lengths of its strings."""


class HistorySource(Protocol):
    """The histories of all topics that a worker can record, wherever the logs are.

    The Recorder implements it. Each method raises HistoryUnavailableError if the history cannot be read
    or changed now, and ChannelError if the topic has no history.
    """

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history."""

    async def forget(self, topic: str) -> Page:
        """Remove the history of a topic; return its new position as a page without entries."""


class HistoryAnswers:
    """Answers the calls `history.read` and `history.forget`.

    What cannot be answered is answered with a page that says so, never with silence: the asker would
    otherwise wait for it.

    Args:
        source: reads and removes histories.
        max_message_bytes: the largest message of the bus (`bus.max_message_bytes`).
    """

    def __init__(self, source: HistorySource, max_message_bytes: int = 2 * MAX_PAGE_BYTES) -> None:
        self._source = source
        self._max_bytes = min(MAX_PAGE_BYTES, max_message_bytes // 2)
        self._handlers: dict[str, CallHandler] = {READ: self._read, FORGET: self._forget}

    def find(self, name: str) -> CallHandler | None:
        """Return what answers a call of this name, for a Responder."""
        return self._handlers.get(name)

    async def _read(self, data: bytes) -> bytes:
        try:
            query = decode_query(data)
            topics.check(query.topic)
            page = await self._source.read(query)
        except (WireError, TopicError, ChannelError) as error:
            return _complain(READ, error)
        except HistoryUnavailableError:
            return encode(UNREADABLE)
        return encode(cut(page, self._max_bytes, newest_first=query.after is None))

    async def _forget(self, data: bytes) -> bytes:
        try:
            page = await self._source.forget(topics.check(str(data, "utf-8")))
        except (UnicodeDecodeError, TopicError, ChannelError) as error:
            return _complain(FORGET, error)
        except HistoryUnavailableError:
            return encode(UNREADABLE)
        return encode(page)


def cut(page: Page, max_bytes: int, newest_first: bool) -> Page:
    """Return a page without the entries that do not fit, and then not complete.

    Args:
        page: the whole page.
        max_bytes: the most bytes of the entries; one entry is always kept.
        newest_first: whether the newest entries are kept, and not the oldest.
    """
    entries = page.entries
    fitting = _fitting(reversed(entries) if newest_first else entries, max_bytes)
    if fitting == len(entries):
        return page
    kept = entries[len(entries) - fitting :] if newest_first else entries[:fitting]
    return Page(page.epoch, page.offset, False, kept)


def _fitting(entries: Iterable[Entry], max_bytes: int) -> int:
    """Return how many of the entries fit, in their order; at least one, if there is any."""
    count = size = 0
    for entry in entries:
        size += len(entry.data) + len(entry.origin) + 4 * len(entry.event) + _FIELDS_BYTES
        if count and size > max_bytes:
            break
        count += 1
    return count


def _complain(call: str, error: Exception) -> bytes:
    _malformed.about("unknown", "bus_messages_malformed", str(error), call=call)
    return encode(UNREADABLE)
