"""One client over plain ZeroMQ: what it sends may wait for a join, what it does not take is kept."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from gateway.backlog import Backlog, lost
from gateway.client import Client
from gateway.ledger import CLIENT_GONE, SLOW_CLIENT
from gateway.unsent import Mark
from mesh.errors import CloseCode
from mesh.telemetry import counters, get_logger

if TYPE_CHECKING:
    from gateway.transports.zeromq.clients import ZeroMQClients

log = get_logger("gateway.zeromq")

OPEN, REFUSED, CLOSE, PING, TEXT, BINARY = b"O", b"R", b"C", b"P", b"T", b"B"
"""The first frames (docs/protocol.md §1.2)."""


class ZeroMQClient:
    """One client. Implements Transport, and the outbox.

    Attributes:
        client: the hub's; None while it is being let in.
        heard: event-loop time of its last message.
        opening: lets it in; None once that is done.
    """

    __slots__ = (
        "_ended", "_paused", "_pending", "_pending_bytes", "_pong", "_unsent", "client", "clients", "heard",
        "identity", "mark", "opening", "over",
    )  # fmt: skip

    name = "zeromq"

    def __init__(self, clients: "ZeroMQClients", identity: bytes) -> None:
        self.client: Client | None = None
        self.clients = clients
        self.identity = identity
        self.heard = asyncio.get_running_loop().time()
        self.over = False
        self.opening: asyncio.Task[None] | None = None
        self.mark: Mark | None = None
        self._unsent: Backlog[tuple[bytes, bytes]] | None = None
        self._pong: bytes | None = None
        self._ended = CLIENT_GONE
        self._paused = True  # until it is let in
        self._pending: deque[tuple[bytes, bool]] = deque()
        self._pending_bytes = 0

    # From the client

    def received(self, data: bytes, binary: bool) -> None:
        """A message; it waits while the hub wants none."""
        if len(data) > self.clients.gateway.max_frame_bytes:
            counters.count("frames_malformed")
            return self.end(CloseCode.TOO_BIG, f"message of {len(data)} bytes (gateway.max_frame_bytes)")
        if not self._paused and self.client is not None:
            return self.clients.hub.received(self.client, data, binary)
        self._pending.append((data, binary))
        self._pending_bytes += len(data) + 100
        if self._pending_bytes > 2 * self.clients.gateway.max_pending_bytes:
            counters.count("zeromq_floods_closed")
            self.end(CloseCode.TRY_AGAIN_LATER, "more messages than can wait (gateway.max_pending_bytes)")

    def answer_ping(self, data: bytes) -> None:
        """Of pings that could not be answered yet, the last one's answer is enough.

        So a client that sends pings and does not read makes us keep one.
        """
        if not self.over:
            answered = self._unsent is None and self.clients.send(self, (PING, data))
            self._pong = None if answered else data

    def probe(self) -> None:
        """Find out whether it is there; what it has not taken yet finds that out as well."""
        if self._unsent is None and self._pong is None:
            self.answer_ping(b"")

    def end(self, code: int, reason: str) -> None:
        """Close it, and tell the hub."""
        self.close(code, reason)
        if self.client is not None:
            self.clients.hub.disconnected(self.client, "closed")

    def gone(self) -> None:
        """Nobody is there any more."""
        if not self.over:
            self._over()
            if self.client is not None:
                self.clients.hub.disconnected(self.client, "closed")

    # Outbox

    @property
    def unsent_bytes(self) -> int:
        """What ZeroMQ has not taken."""
        return self._unsent.size if self._unsent is not None else 0

    def send(self, frames: tuple[bytes, bytes]) -> None:
        """Send, or keep what ZeroMQ does not take now."""
        unsent = self._unsent
        if self.over:
            lost(frames[1], self._ended)
            return
        if unsent is None:
            if self.clients.send(self, frames):
                return
            unsent = self._unsent = Backlog()
        unsent.add(frames, frames[1])
        limit = self.clients.gateway.max_unsent_bytes
        if unsent.size > limit and not unsent.trim(limit):
            self.close_slow(unsent.size)
        elif self.mark is not None:
            self.mark.look(unsent.size)

    def flush(self) -> bool:
        """Send what was kept; returns whether nothing is left."""
        unsent = self._unsent
        while unsent and not self.over:
            if not self.clients.send(self, next(iter(unsent))):
                return False
            unsent.pop()
            if self.mark is not None:
                self.mark.look(unsent.size)
        if self._pong is not None and not self.over:
            if not self.clients.send(self, (PING, self._pong)):
                return False
            self._pong = None
        self._caught_up()
        return True

    def _caught_up(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is not None and unsent.dropped:
            socket_id = self.client.id if self.client is not None else None
            log.warning("a slow client missed broadcasts", socket_id=socket_id, **unsent.dropped)

    # Transport

    def close(self, code: int, reason: str) -> None:
        """Say so; what the client sends afterwards is from nobody."""
        if not self.over:
            self.flush()
            self.clients.say(self.identity, CLOSE, {"code": int(code), "reason": reason})
            self._over()

    def close_slow(self, unsent: int) -> None:
        """It does not read."""
        asyncio.get_running_loop().call_soon(self._end_slow, unsent)

    def pause(self) -> None:
        """Let its messages wait; a ROUTER cannot stop reading from one of its peers."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        while self._pending and not self._paused and not self.over and self.client is not None:
            data, binary = self._pending.popleft()
            self._pending_bytes -= len(data) + 100
            self.clients.hub.received(self.client, data, binary)

    def _over(self) -> None:
        self.over = True
        if self._unsent is not None:
            self._unsent.clear(self._ended)
            self._caught_up()
        self._pong = None
        self._pending.clear()
        self._pending_bytes = 0
        self.clients.forget(self)

    def _end_slow(self, unsent: int) -> None:
        if not self.over:
            self._ended = SLOW_CLIENT
            counters.count("slow_clients_closed")
            log.warning("slow client closed", socket_id=self.client and self.client.id, unsent=unsent)
            self.gone()
