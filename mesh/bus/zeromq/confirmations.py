"""Determines when proxies have accepted what was published, without waiting for a proxy that is frozen.

A probe sent after the messages comes back through the proxy that accepted them. If one proxy in use has not
answered while another one has, its connection becomes SUSPECTED: its messages are sent again through the
other proxies, in order and with the same numbers, and those proxies confirm them. The doubted proxy is used
again as soon as it answers.
"""

import asyncio

from mesh.app import topics
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.publisher import Publisher

SUSPECT_SECONDS = 0.25
"""How long a proxy may leave a probe unanswered before it is doubted."""
RETRY_SECONDS = 0.1
"""The interval of further probes while an answer is outstanding."""


class Confirmations:
    """The callers that wait for one publisher's messages to be confirmed."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._waiting: dict[asyncio.Future[None], tuple[int, int]] = {}
        self._scheduled = False

    async def wait(self, first: int, last: int) -> None:
        """Return once proxies have accepted all messages with these numbers."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        confirmed = loop.create_future()
        self._waiting[confirmed] = first, last
        try:
            self._probe_soon()
            await asyncio.wait({confirmed}, timeout=SUSPECT_SECONDS)
            while self._publisher.is_pending(first, last):
                self._suspect_unresponsive(first, last, started)
                self._probe_soon()
                await asyncio.wait({confirmed}, timeout=RETRY_SECONDS)
        finally:
            del self._waiting[confirmed]
            confirmed.cancel()

    def _probe_soon(self) -> None:
        """Send one probe for everything that is published in this turn of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._probe_all)

    def _probe_all(self) -> None:
        self._scheduled = False
        topic = topics.of_sync(self._publisher.origin)
        for connection in self._publisher.in_use:  # all: only a comparison shows which one does not answer
            self._publisher.probe(topic, connection)

    def _suspect_unresponsive(self, first: int, last: int, since: float) -> None:
        unconfirmed = {
            each for each in self._publisher.in_use if each.resend_buffer.has_unconfirmed(first, last)
        }
        if any(_answered(each, since) for each in self._publisher.in_use if each not in unconfirmed):
            self._publisher.suspect([each for each in unconfirmed if not _answered(each, since)])

    def check(self) -> None:
        """A probe has come back: wake the callers whose messages are confirmed."""
        for confirmed, (first, last) in self._waiting.items():
            if not confirmed.done() and not self._publisher.is_pending(first, last):
                confirmed.set_result(None)


def _answered(connection: ProxyConnection, since: float) -> bool:
    return connection.answered_at > since
