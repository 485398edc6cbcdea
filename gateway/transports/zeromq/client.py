"""One client over plain ZeroMQ, with the messages that wait from it and for it."""

from collections import deque
from typing import Any, Protocol

from mesh.errors import CloseCode
from mesh.gateway.flow.backlog import Backlog, count_lost
from mesh.gateway.hub import Hub
from mesh.gateway.transports.client_connection import QueueingConnection
from mesh.gateway.transports.client_phases import Event, Phase
from mesh.gateway.transports.zeromq.messages import CLOSE, PING, close_content
from mesh.settings import GatewaySettings
from mesh.telemetry import counters

OPEN, PAUSED = Phase.OPEN, Phase.PAUSED
MESSAGE_OVERHEAD_BYTES = 100
"""Counted for each waiting message in addition to its own bytes."""


class ClientRouter(Protocol):
    """What a client needs from the gateway's ZeroMQ transport."""

    hub: Hub
    settings: GatewaySettings

    def send(self, client: "ZeroMQClient", frames: tuple[bytes, bytes]) -> bool:
        """Send to a client; return False if its queue is full, in which case `flush` is called soon."""

    def send_control(self, identity: bytes, kind: bytes, content: dict[str, Any]) -> None:
        """Send a client a control message about its connection."""

    def forget(self, client: "ZeroMQClient") -> None:
        """Forget a client whose connection is closed."""


class ZeroMQClient(QueueingConnection):
    """One client.

    Attributes:
        identity: its routing id.
    """

    __slots__ = ("_pending", "_pending_bytes", "_pong", "identity")

    name = "zeromq"
    _server: ClientRouter

    def __init__(self, router: ClientRouter, identity: bytes) -> None:
        super().__init__(router)
        self.identity = identity
        self._pong: bytes | None = None
        self._pending: deque[tuple[bytes, bool]] = deque()
        self._pending_bytes = 0

    @property
    def ended(self) -> bool:
        """Whether messages from the client are ignored."""
        return self._phases.phase in (Phase.CLOSING, Phase.CLOSED)

    # From the client

    def received(self, data: bytes, binary: bool) -> None:
        """Handle a message; it waits until the client is admitted, and while reading is paused."""
        settings = self._server.settings
        if len(data) > settings.max_frame_bytes:
            counters.count("frames_malformed")
            return self.end(CloseCode.TOO_BIG, f"message of {len(data)} bytes (gateway.max_frame_bytes)")
        if self._phases.phase is OPEN and self.client is not None:
            return self._server.hub.received(self.client, data, binary)
        self._pending.append((data, binary))
        self._pending_bytes += len(data) + MESSAGE_OVERHEAD_BYTES
        if self._pending_bytes > 2 * settings.max_pending_bytes:
            counters.count("zeromq_floods_closed")
            self.end(CloseCode.TRY_AGAIN_LATER, "more messages than can wait (gateway.max_pending_bytes)")

    def answer_ping(self, data: bytes) -> None:
        """Answer a ping, or keep it while the client does not read.

        Only the last unanswered ping has to be answered, so at most one is kept.
        """
        if not self.ended:
            answered = self._backlog is None and self._server.send(self, (PING, data))
            self._pong = None if answered else data

    def probe(self) -> None:
        """Find out whether the client is there, unless something waits for it and will find out."""
        if self.client is not None and self._backlog is None and self._pong is None:
            self.answer_ping(b"")

    # Outbox

    def send(self, frames: tuple[bytes, bytes]) -> None:
        """Send a frame, or keep it if ZeroMQ does not accept it now."""
        phase = self._phases.phase
        if phase is not OPEN and phase is not PAUSED:
            count_lost(frames[1], self._lost_reason)
            return
        backlog = self._backlog
        if backlog is None:
            if self._server.send(self, frames):
                return
            backlog = self._backlog = Backlog()
        backlog.add(frames, frames[1])
        self._enforce_limit(backlog)

    def flush(self) -> bool:
        """Send what was kept; return whether nothing is left."""
        backlog = self._backlog
        while backlog:
            if not self._server.send(self, next(iter(backlog))):
                return False
            backlog.pop()
            if self.watermark is not None:
                self.watermark.update(backlog.size)
        if self._pong is not None:
            if not self._server.send(self, (PING, self._pong)):
                return False
            self._pong = None
        self._end_stall()
        return True

    def _end_stall(self) -> None:
        backlog, self._backlog = self._backlog, None
        if backlog is not None and backlog.dropped:
            self.report_dropped(backlog.dropped)

    # Actions of the phase table

    def _start_reading(self) -> None:
        while self._pending and self._phases.phase is OPEN and self.client is not None:
            data, binary = self._pending.popleft()
            self._pending_bytes -= len(data) + MESSAGE_OVERHEAD_BYTES
            self._server.hub.received(self.client, data, binary)

    def _stop_reading(self) -> None:
        """A ROUTER cannot stop reading from one of its peers: messages wait in `received`."""

    def _send_close(self, code: int | None, reason: str) -> None:
        """Send what ZeroMQ accepts, then the close; the client's later messages get UNKNOWN."""
        self.flush()
        self._server.send_control(self.identity, CLOSE, close_content(code or CloseCode.NORMAL, reason))
        self._handle(Event.FINISHED)

    def _release(self) -> None:
        super()._release()
        self._end_stall()
        self._pong = None
        self._pending.clear()
        self._pending_bytes = 0
        self._server.forget(self)
