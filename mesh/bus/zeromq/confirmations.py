"""Tells when proxies have taken over what was published, without waiting for a proxy that is frozen.

A probe behind the messages comes back through the proxy that took them. If one owes its answer while
another that is in use answers, it is doubted: what it took is sent again through the others, in order and
under the same numbers, and they confirm. It is used again as soon as it answers.
"""

import asyncio

from mesh import topics
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.publisher import Publisher

DOUBT_SECONDS = 0.25
"""How long a proxy may owe an answer before it is doubted."""
AGAIN_SECONDS = 0.1
"""Between two probes while an answer is owed."""


class Confirmations:
    """The waits for messages of one publisher."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._waiting: dict[asyncio.Future[None], tuple[int, int]] = {}
        self._scheduled = False

    async def wait(self, first: int, last: int) -> None:
        """Return once proxies have taken all messages with these numbers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        confirmed = loop.create_future()
        self._waiting[confirmed] = first, last
        try:
            self._ask_soon()
            await asyncio.wait({confirmed}, timeout=DOUBT_SECONDS)
            while self._publisher.is_pending(first, last):
                self._doubt(first, last, began)
                self._ask_soon()
                await asyncio.wait({confirmed}, timeout=AGAIN_SECONDS)
        finally:
            del self._waiting[confirmed]
            confirmed.cancel()

    def _ask_soon(self) -> None:
        """One probe for all that is published in this turn of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        self._scheduled = False
        topic = topics.of_sync(self._publisher.origin)
        for connection in self._publisher.in_use:  # all: the others' answers show what one owes
            self._publisher.probe(topic, connection)

    def _doubt(self, first: int, last: int, since: float) -> None:
        owing = {each for each in self._publisher.in_use if each.resend_buffer.untaken(first, last)}
        if any(_answered(each, since) for each in self._publisher.in_use if each not in owing):
            self._publisher.doubt([each for each in owing if not _answered(each, since)])

    def check(self) -> None:
        """A probe has come back: tell those whose messages are confirmed."""
        for confirmed, (first, last) in self._waiting.items():
            if not confirmed.done() and not self._publisher.is_pending(first, last):
                confirmed.set_result(None)


def _answered(connection: ProxyConnection, since: float) -> bool:
    return connection.answered_at > since
