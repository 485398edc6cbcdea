"""Which entries answer a query. Pure."""

from collections.abc import Sequence
from itertools import islice

from mesh.history.contract import Entry, Head, Page, Query


def select(query: Query, head: Head, first: int, entries: Sequence[Entry]) -> Page:
    """Return the entries that a query asks for.

    Args:
        query: the question.
        head: the newest position of the topic.
        first: the offset of the oldest entry that is kept; one above the newest if there is none.
        entries: the entries that are kept, the oldest first, without a gap up to the newest position.
    """
    newest = head.offset if query.before is None else min(head.offset, query.before - 1)
    if query.after is None:
        oldest, complete = max(first, newest - query.limit + 1), True
    elif query.epoch not in (None, head.epoch) or not first - 1 <= query.after <= head.offset:
        return Page(head.epoch, head.offset, False, [])
    else:
        oldest = query.after + 1
        complete = newest - oldest < query.limit
        newest = min(newest, oldest + query.limit - 1)
    # Mostly the newest entries are wanted: a deque gives them fastest from its end.
    behind = head.offset - newest
    found = list(islice(reversed(entries), behind, behind + max(0, newest - oldest + 1)))
    found.reverse()
    return Page(head.epoch, head.offset, complete, found)
