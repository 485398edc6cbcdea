"""A gateway's WebSocket connections, after the handshake: bytes in and out.

A connection reads and writes its socket directly: one callback per readable socket, no task, no future
(docs/performance.md). It closes as Cowboy and Bandit do.
"""

import asyncio
import socket
import ssl
from typing import Protocol

from mesh.errors import CloseCode, WebSocketError
from mesh.gateway.flow.outbox import WOULD_BLOCK, Flusher, Outbox
from mesh.gateway.hub import Hub
from mesh.gateway.transports.client_connection import ClientConnection
from mesh.gateway.transports.client_phases import Event, Phase
from mesh.gateway.transports.websocket.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    FrameReader,
    close_code,
    close_frame,
    control_frame,
)
from mesh.settings import GatewaySettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

READ_BYTES = 65_536
LINGER_SECONDS = 2.0
"""The time for the client to close the connection after our close frame."""
PONG_RETRY_SECONDS = 0.1
"""The interval of checks whether a client that did not read can be sent the pong to its last ping."""
OPEN, PAUSED = Phase.OPEN, Phase.PAUSED
LIMIT_CODES = frozenset((CloseCode.POLICY_VIOLATION, CloseCode.TOO_BIG))
"""Close codes sent with a reason, the exceeded limit; others have no reason, as in Phoenix."""


class WebSocketServer(Protocol):
    """What a connection needs from the gateway's WebSocket transport."""

    hub: Hub
    settings: GatewaySettings
    flusher: Flusher

    def closing(self, connection: "WebSocketConnection") -> None:
        """Note that its close frame is queued, and that it waits for the client to close."""

    def closed(self, connection: "WebSocketConnection") -> None:
        """Note that it is closed."""


class WebSocketConnection(ClientConnection):
    """One WebSocket after its handshake.

    Attributes:
        outbox: the queue of ready frames.
    """

    __slots__ = ("_linger_timer", "_loop", "_pong", "_reader", "_sock", "outbox")

    name = "websocket"
    outbox: Outbox
    _server: WebSocketServer

    def __init__(self, server: WebSocketServer, sock: socket.socket) -> None:
        super().__init__(server)
        settings = server.settings
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(settings.max_frame_bytes, settings.max_fragments)
        self._pong: bytes | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self.outbox = Outbox(
            server.flusher,
            sock,
            settings.max_unsent_bytes,
            self.close_slow,
            self.lost,
            self.report_dropped,
        )

    # Reading

    def _readable(self) -> None:
        if self._phases.phase is PAUSED:  # paused since this call was scheduled
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except WOULD_BLOCK:
            return
        except OSError:
            return self.lost()
        if not data:
            return self.lost()
        if self._phases.phase is not OPEN:
            return  # after our close frame, data is read and dropped
        self.received(data)
        self._read_decrypted()

    def _read_decrypted(self) -> None:
        """Read on with TLS: data that is already decrypted does not make the descriptor readable."""
        sock = self._sock
        if isinstance(sock, ssl.SSLSocket) and self._phases.phase is OPEN and sock.pending():
            self._loop.call_soon(self._readable)

    def received(self, data: bytes) -> None:
        """Handle bytes from the client."""
        self.last_heard = self._loop.time()
        received, error = self._reader.feed(data)
        hub, client, phases = self._server.hub, self.client, self._phases
        assert client is not None
        for opcode, payload in received:
            if phases.phase is not OPEN and phases.phase is not PAUSED:
                return
            if opcode <= BINARY:
                hub.received(client, payload, opcode == BINARY)
            else:
                self._control(opcode, payload)
        if error is not None and (phases.phase is OPEN or phases.phase is PAUSED):
            self._end_with_error(error)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._answer_ping(payload)
        elif opcode == CLOSE:
            # RFC 6455 §5.5.1: the close frame is answered with the code it carries, if any.
            try:
                self.end(close_code(payload))
            except WebSocketError as error:
                self._end_with_error(error)

    def _answer_ping(self, payload: bytes) -> None:
        """Answer a ping, or keep it while the client does not read.

        Only the last unanswered ping has to be answered (RFC 6455 §5.5.3), so at most one is kept.
        """
        if not self.outbox.blocked:
            self._pong = None
            self.outbox.send(control_frame(PONG, payload))
            return
        if self._pong is None:
            self._loop.call_later(PONG_RETRY_SECONDS, self._retry_pong)
        self._pong = payload

    def _retry_pong(self) -> None:
        if self._pong is None or self._phases.phase not in (OPEN, PAUSED):
            return
        if self.outbox.blocked:
            self._loop.call_later(PONG_RETRY_SECONDS, self._retry_pong)
            return
        self.outbox.send(control_frame(PONG, self._pong))
        self._pong = None

    def _end_with_error(self, error: WebSocketError) -> None:
        counters.count("frames_malformed")
        log.info("connection closed", code=int(error.code), reason=str(error))
        self.end(error.code, str(error))

    # Actions of the phase table

    def _start_reading(self) -> None:
        if self._phases.phase is OPEN:
            self.last_heard = self._loop.time()
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._read_decrypted()

    def _stop_reading(self) -> None:
        self.last_heard = float("inf")
        self._loop.remove_reader(self._sock.fileno())

    def _send_close(self, code: int | None, reason: str) -> None:
        self.outbox.send(close_frame(code, reason if code in LIMIT_CODES else ""))
        self._server.closing(self)
        self._linger_timer = self._loop.call_later(LINGER_SECONDS, self._handle, Event.FINISHED)
        # Only after the hub has dropped the channels and the flusher has run.
        self._loop.call_soon(self._loop.call_soon, self._shut_down)

    def _shut_down(self) -> None:
        """Shut down the sending side; closing the socket could destroy what the client has not read."""
        self.outbox.flush()
        if self.outbox.empty and self._sock.fileno() >= 0:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._handle(Event.FINISHED)

    def _discard(self, reason: str) -> None:
        self.outbox.discard(reason)

    def _release(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._server.closed(self)
        self.outbox.discard()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
