"""Reads and removes histories from any node: the asking side of the calls of contract.py.

A gateway uses it for `endpoint.history` and the HTTP API, and `mesh.connect` for `pubsub.history`.
Implements `Histories` (mesh/app/pubsub.py).
"""

import msgspec

from mesh.app.history import KeptBroadcast
from mesh.errors import DecodeError
from mesh.history.asking import Asking, Calls
from mesh.history.contract import FORGET, MAX_OFFSET, READ, Entry, Page, Query, encode
from mesh.history.workers import Workers
from mesh.protocol import payloads
from mesh.telemetry import Complaints, get_logger

_malformed = Complaints(get_logger(__name__), "kept broadcast left out")

MAX_LIMIT = 2**31
"""No history has as many entries."""
NEXT_SECONDS = 0.5
"""How long to wait for a page before the next worker is asked as well."""


class HistoryReader:
    """The histories of all topics, read by calls to the workers.

    Args:
        calls: the calls of this node.
        workers: finds the workers of a topic.
        wait_seconds: how long to wait for each answer, in all (`history.wait_seconds`).
    """

    def __init__(self, calls: Calls, workers: Workers, wait_seconds: float) -> None:
        self._calls = calls
        self._workers = workers
        self._wait_seconds = wait_seconds

    async def list(self, topic: str, limit: int, before: int | None) -> "list[KeptBroadcast]":
        """Return the newest kept broadcasts of a topic, the oldest of them first.

        Raises:
            HistoryUnavailableError: if the history cannot be read now.
            ChannelError: if the topic has no history.
        """
        below = None if before is None else min(before, MAX_OFFSET)
        page = await self.read(Query(topic, before=below, limit=min(limit, MAX_LIMIT)))
        return kept_broadcasts(topic, page.entries)

    async def forget(self, topic: str) -> None:
        """Remove the history of a topic, which begins a new epoch. Raises as `list`."""
        # The others are asked late, so that it is not removed twice.
        asking = Asking(self._calls, self._workers, topic, FORGET, topic.encode())
        await asking.answer(self._wait_seconds, self._wait_seconds / 2)

    async def read_page(self, query: Query) -> Page:
        """Return the answer to a query, cut if it is large (answers.py). Raises as `list`."""
        asking = Asking(self._calls, self._workers, query.topic, READ, encode(query))
        return await asking.answer(self._wait_seconds, NEXT_SECONDS)

    async def read(self, query: Query) -> Page:
        """Return the whole answer to a query, by as many calls as it needs. Raises as `list`.

        If the history begins a new epoch in the meantime, the answer is that of the new one.
        """
        whole = await self.read_page(query)
        while not whole.complete and whole.entries and len(whole.entries) < query.limit:
            more = await self.read_page(_rest(query, whole))
            if more.epoch == whole.epoch:
                whole = _joined(query, whole, more)
                if not more.entries:
                    break
            elif query.after is None:
                whole = await self.read_page(query)
            else:
                return more
        return whole


def kept_broadcasts(topic: str, entries: "list[Entry]") -> "list[KeptBroadcast]":
    """Return entries as an application sees them; those whose payload cannot be decoded are left out."""
    kept = []
    for entry in entries:
        try:
            payload = payloads.decode(entry.codec, entry.data)
        except DecodeError as error:
            _malformed.about(entry.origin, "bus_messages_malformed", str(error), topic=topic)
            continue
        kept.append(KeptBroadcast(entry.offset, entry.event, payload, entry.at))
    return kept


def _rest(query: Query, page: Page) -> Query:
    """Return the query for what a page lacks."""
    limit = query.limit - len(page.entries)
    if query.after is None:
        return msgspec.structs.replace(query, before=page.entries[0].offset, limit=limit)
    return msgspec.structs.replace(query, epoch=page.epoch, after=page.entries[-1].offset, limit=limit)


def _joined(query: Query, page: Page, more: Page) -> Page:
    both = more.entries + page.entries if query.after is None else page.entries + more.entries
    return Page(more.epoch, more.offset, more.complete, both)
