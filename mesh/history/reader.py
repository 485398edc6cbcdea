"""Reads and removes histories from any node: the asking side of the calls of contract.py.

A gateway uses it for `endpoint.history` and the HTTP API, and `mesh.connect` for `pubsub.history`.
Implements `Histories` (mesh/app/pubsub.py).
"""

from mesh.app.history import KeptBroadcast
from mesh.history import listing
from mesh.history.asking import Asking, Calls
from mesh.history.contract import FORGET, READ, Page, Query, encode
from mesh.history.paging import whole
from mesh.history.workers import Workers

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

    async def list(self, topic: str, limit: int, before: int | None) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of a topic, the oldest of them first.

        Raises:
            HistoryUnavailableError: if the history cannot be read now.
            ChannelError: if the topic has no history.
        """
        return listing.decoded(topic, await self.read(listing.newest(topic, limit, before)))

    async def forget(self, topic: str) -> None:
        """Remove the history of a topic, which begins a new epoch. Raises as `list`."""
        # The others are asked late, so that it is not removed twice.
        asking = Asking(self._calls, self._workers, topic, FORGET, topic.encode())
        await asking.answer(self._wait_seconds, self._wait_seconds / 2)

    async def read_page(self, query: Query) -> Page:
        """Return the answer to a query, cut if it is large (paging.py). Raises as `list`."""
        asking = Asking(self._calls, self._workers, query.topic, READ, encode(query))
        return await asking.answer(self._wait_seconds, NEXT_SECONDS)

    async def read(self, query: Query) -> Page:
        """Return the whole answer to a query, by as many calls as it needs. Raises as `list`."""
        return await whole(query, self.read_page)
