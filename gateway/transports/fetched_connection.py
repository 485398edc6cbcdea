"""Connections whose messages wait until a request of the client, or a task, fetches them."""

import asyncio
from typing import Any

from mesh.gateway.flow.backlog import Backlog, count_lost
from mesh.gateway.transports.client_connection import ConnectionServer, QueueingConnection
from mesh.gateway.transports.client_phases import Event, Phase

# A tuple: it is checked for each message, and the hash of an Enum member is computed in Python.
_ALIVE = (Phase.OPEN, Phase.PAUSED, Phase.OPENING)


class FetchedConnection(QueueingConnection):
    """A connection whose messages are fetched.

    Only one `fetch` waits at a time; a newer one replaces it. Pass the client's messages to `deliver`,
    after `wait_until_open` if the phase is not OPEN.
    """

    __slots__ = ("_resumed", "_waiting", "_wake_scheduled")

    _backlog: Backlog[Any]

    def __init__(self, server: ConnectionServer) -> None:
        super().__init__(server)
        self._backlog = Backlog()
        self._waiting: asyncio.Future[bool] | None = None
        self._wake_scheduled = False
        self._resumed: asyncio.Future[None] | None = None

    async def fetch(self, timeout_seconds: float) -> list[Any] | None:
        """Return the waiting messages, within this time; None if the connection is closed.

        The list is empty if no message came in time, or if a newer `fetch` replaced this one.
        """
        self.cancel_fetch()
        self.last_heard = float("inf")
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] | None = None
        try:
            if not self._backlog and self._phases.phase in _ALIVE:
                waiting = self._waiting = loop.create_future()
                await asyncio.wait([waiting], timeout=timeout_seconds)
                if waiting.done() and waiting.result():
                    return []
            return self._take()
        finally:
            if self._waiting is waiting:
                self._waiting = None
                self.last_heard = loop.time()

    def cancel_fetch(self) -> None:
        """End the waiting `fetch`, whose caller is gone; messages wait for the next one."""
        self._wake(superseded=True)

    def give_back(self, messages: list[Any]) -> None:
        """Put back what an earlier `fetch` took but did not deliver; it comes first in the next one."""
        plain = [bytes(message) for message in messages]
        self._backlog.put_back([(message, message) for message in plain])
        self._wake()

    async def wait_until_open(self, timeout_seconds: float) -> bool:
        """Wait while reading is paused, at most this many seconds; return whether the phase is OPEN."""
        if self._resumed is not None:
            await asyncio.wait([self._resumed], timeout=timeout_seconds)
        return self._phases.phase is Phase.OPEN

    def deliver(self, data: bytes, binary: bool) -> None:
        """Pass a message of the client to the hub; the phase must be OPEN."""
        assert self.client is not None
        self._server.hub.received(self.client, data, binary)

    def time_out(self) -> None:
        """Close the connection of a silent client; one that fetches nothing after a close is dropped."""
        if self._phases.phase is Phase.CLOSING:
            self._handle(Event.LOST)
        else:
            super().time_out()

    # Outbox

    def send(self, frame: bytes) -> None:
        """Keep a frame for the next `fetch`, and wake the one that waits."""
        if self._phases.phase not in _ALIVE:
            count_lost(frame, self._lost_reason)
            return
        backlog = self._backlog
        backlog.add(frame, frame, behind=self._waiting is None)
        self._enforce_limit(backlog)
        if self._waiting is not None and not self._wake_scheduled:
            self._wake_scheduled = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _take(self) -> list[Any] | None:
        backlog = self._backlog
        if backlog.dropped:
            self.report_dropped(backlog.dropped)
            backlog.dropped.clear()
        if self.watermark is not None:
            self.watermark.update(0)
        if backlog or self._phases.phase in _ALIVE:
            return [backlog.pop() for _ in range(len(backlog))]
        self._handle(Event.FINISHED)
        return None

    def _wake(self, superseded: bool = False) -> None:
        self._wake_scheduled = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(superseded)

    # Actions of the phase table

    def _start_reading(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def _stop_reading(self) -> None:
        self._resumed = asyncio.get_running_loop().create_future()

    def _send_close(self, code: int | None, reason: str) -> None:
        """Let the next `fetch` still return what was sent before."""
        del code, reason
        self._wake()
        if not self._backlog:
            self._handle(Event.FINISHED)

    def _release(self) -> None:
        super()._release()
        self._wake()
        self._start_reading()  # a waiting `wait_until_open` learns of the end
