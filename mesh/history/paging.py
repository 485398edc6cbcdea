"""Long parts of a history, in several answers: an answer has at most MAX_BYTES of payloads. Pure."""

from collections.abc import Awaitable, Callable

import msgspec

from mesh.history.contract import Page, Query

MAX_BYTES = 1_000_000
"""The most bytes of payloads in one answer, except that it has at least one entry."""


def cut(query: Query, page: Page) -> Page:
    """Return the part of an answer that fits into one message; `complete` is false if it is not all.

    Of the newest entries, the newest remain; of the entries after an offset, the oldest.
    """
    newest_first = query.after is None
    size, number = 0, 0
    for entry in reversed(page.entries) if newest_first else page.entries:
        size += len(entry.data) + len(entry.event)
        if size > MAX_BYTES and number:
            break
        number += 1
    if number == len(page.entries):
        return page
    entries = page.entries[-number:] if newest_first else page.entries[:number]
    return msgspec.structs.replace(page, complete=False, entries=entries)


async def whole(query: Query, ask: Callable[[Query], Awaitable[Page]]) -> Page:
    """Return the answer to a query, asked for in as many pieces as `cut` makes of it."""
    page = await ask(query)
    if page.complete or not page.entries:
        return page
    entries, epoch = page.entries, page.epoch
    while not page.complete and page.entries and page.epoch == epoch:
        if query.after is None:
            rest = query.limit - len(entries)
            page = await ask(msgspec.structs.replace(query, before=entries[0].offset, limit=rest))
            entries = page.entries + entries
        else:
            page = await ask(msgspec.structs.replace(query, epoch=epoch, after=entries[-1].offset))
            entries = entries + page.entries
    complete = page.complete and page.epoch == epoch
    if query.after is not None and not complete:
        entries = []
    return Page(page.epoch, page.offset, complete, entries)
