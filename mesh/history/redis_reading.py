"""Reads the history of a topic from its stream: the newest entries first, until its limits. Pure."""

from collections.abc import Awaitable, Callable
from itertools import pairwise

from mesh.app.history import History
from mesh.history import redis_stream
from mesh.history.contract import Entry, Head, Page, Query
from mesh.history.redis_stream import Fields, ForeignEntryError
from mesh.history.selection import select

PAGE_ENTRIES = 100
"""The most entries that are read at a time: decoding more would block the event loop."""

Range = Callable[[str, str, int], Awaitable[list[tuple[bytes, Fields]]]]
"""Returns up to that many (ID, fields) pairs between two IDs, the newest first: XREVRANGE."""


async def read(
    read_range: Range, query: Query, history: History, now: float, is_current: Callable[[Head, str], bool]
) -> Page | None:
    """Return what a query asks for.

    Returns None if the stream has no entry, is not current, or changes its epoch meanwhile: then the topic
    must be opened again.

    Args:
        read_range: reads from the stream.
        query: the question.
        history: the limits of the topic.
        now: the Unix time in seconds.
        is_current: tells by the newest position and the run of its entry whether the stream has everything.

    Raises:
        ForeignEntryError: if another program has written to the stream.
    """
    lower = f"{query.after}-0" if query.after else "-"
    most = history.messages + 1  # with the position itself, beside which nothing newer may be
    if query.after is None and query.before is None:
        most = max(1, min(history.messages, query.limit))
    page = await read_range("+", lower, min(most, PAGE_ENTRIES))
    newest = page[:1] or await read_range("+", "-", 1)
    if not newest:
        return None
    number, fields = newest[0]
    head = redis_stream.head(number, fields.get(b"epoch", b""))
    if not is_current(head, fields.get(b"run", b"").decode(errors="replace")):
        return None
    entries: list[Entry] = []
    size = 0
    while page:
        if any(fields.get(b"epoch") != head.epoch.encode() for _, fields in page):
            if entries:
                return None
            raise ForeignEntryError(newest[0][0].decode(errors="replace"))
        for number, fields in page:
            if number == b"0-1":  # the beginning of the epoch
                break
            entry = redis_stream.decoded(number, fields)
            size += len(entry.data)
            over = len(entries) >= history.messages or size > history.bytes
            if over or entry.at < now - history.seconds:
                page = []
                break
            entries.append(entry)
        if len(page) < PAGE_ENTRIES:
            break
        page = await read_range(f"({page[-1][0].decode()}", lower, min(most - len(entries), PAGE_ENTRIES))
    if any(newer.offset != older.offset + 1 for newer, older in pairwise(entries)):
        raise ForeignEntryError(f"{entries[-1].offset}-0")
    if entries and entries[0].offset != head.offset:
        raise ForeignEntryError(f"{entries[0].offset}-0")
    entries.reverse()
    return select(query, head, entries[0].offset if entries else head.offset + 1, entries)
