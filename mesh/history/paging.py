"""Long parts of a history, in several answers: an answer has at most MAX_BYTES. Pure."""

from collections.abc import Awaitable, Callable, Iterable

import msgspec

from mesh.history.contract import Entry, Page, Query

MAX_BYTES = 1_000_000
"""The most bytes of entries in one answer, except that it has at least one entry."""
_FIELDS_BYTES = 32
"""The most bytes of an entry's numbers in msgpack, and of the lengths of its strings."""


def cut(query: Query, page: Page, max_bytes: int = MAX_BYTES) -> Page:
    """Return the part of an answer that fits into one message; `complete` is false if it is not all.

    Of the newest entries, the newest remain; of the entries after an offset, the oldest.
    """
    entries, newest_first = page.entries, query.after is None
    fitting = _fitting(reversed(entries) if newest_first else entries, max_bytes)
    if fitting == len(entries):
        return page
    kept = entries[-fitting:] if newest_first else entries[:fitting]
    return msgspec.structs.replace(page, complete=False, entries=kept)


async def whole(query: Query, ask: Callable[[Query], Awaitable[Page]]) -> Page:
    """Return the answer to a query, asked for in as many pieces as `cut` makes of it.

    If the history begins a new epoch in the meantime, the answer is that of the new one. If entries after
    an offset are removed in the meantime, the answer is not complete, and may have some of them.
    """
    page = await ask(query)
    while not page.complete and page.entries and len(page.entries) < query.limit:
        more = await ask(_rest(query, page))
        if more.epoch == page.epoch:
            both = more.entries + page.entries if query.after is None else page.entries + more.entries
            page = msgspec.structs.replace(more, entries=both)
            if not more.entries:
                break
        elif query.after is None and more.epoch:
            page = await ask(query)
        else:
            return more
    return page


def _rest(query: Query, page: Page) -> Query:
    """Return the query for what a page lacks."""
    limit = query.limit - len(page.entries)
    if query.after is None:
        return msgspec.structs.replace(query, before=page.entries[0].offset, limit=limit)
    return msgspec.structs.replace(query, epoch=page.epoch, after=page.entries[-1].offset, limit=limit)


def _fitting(entries: Iterable[Entry], max_bytes: int) -> int:
    """Return how many of the entries fit, in their order; at least one, if there is any."""
    count = size = 0
    for entry in entries:
        size += len(entry.data) + len(entry.origin) + 4 * len(entry.event) + _FIELDS_BYTES
        if count and size > max_bytes:
            break
        count += 1
    return count
