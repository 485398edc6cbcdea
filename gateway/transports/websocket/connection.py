"""The WebSocket connections of a gateway, after the handshake: bytes in and out, time-outs, the end.

A connection reads and writes its socket directly: one callback per readable socket, no task, no future
(docs/performance.md). Closes are those of Cowboy and Bandit.
"""

import asyncio
import socket
import ssl
from collections import Counter

from gateway.client import Client
from gateway.hub import Hub
from gateway.ledger import SLOW_CLIENT
from gateway.outbox import WOULD_BLOCK, Flusher, Outbox
from gateway.transports.idle_timer import IdleTimer
from gateway.transports.websocket.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    FrameReader,
    close_code,
    close_frame,
    ready,
)
from mesh.errors import CloseCode, WebSocketError
from mesh.settings import GatewaySettings
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.connection")

READ_BYTES = 65_536
LINGER_SECONDS = 2.0
"""After our close frame the client has this long to hang up."""
PONG_AGAIN_SECONDS = 0.1
"""While a client does not read, its last ping waits; whether it reads again is looked at so often."""
LIMITS = frozenset((CloseCode.POLICY_VIOLATION, CloseCode.TOO_BIG))
"""Close codes that tell which limit was passed; others come without a reason, as Phoenix's."""


class WebSockets:
    """All WebSocket connections of a gateway, and their idle time-out."""

    def __init__(self, hub: Hub, settings: GatewaySettings) -> None:
        self.hub = hub
        self.settings = settings
        self.flusher = Flusher()
        self.connections: set[Connection] = set()
        self.lingering: set[Connection] = set()
        self._all_gone: asyncio.Future[None] | None = None
        self._idle_timer = IdleTimer(min(1.0, settings.idle_timeout_seconds / 10), self._check_idle)

    async def aclose(self, timeout_seconds: float) -> None:
        """All connections are closed: done when the clients have hung up, or after the time-out."""
        self._idle_timer.cancel()
        if self.lingering:
            self._all_gone = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_gone], timeout=timeout_seconds)

    def gone(self, connection: "Connection") -> None:
        """A connection is closed for good."""
        self.connections.discard(connection)
        self.lingering.discard(connection)
        if self._all_gone is not None and not self.lingering and not self._all_gone.done():
            self._all_gone.set_result(None)

    def _check_idle(self, now: float) -> None:
        oldest = now - self.settings.idle_timeout_seconds
        for connection in [each for each in self.connections if each.heard < oldest]:
            connection.time_out()


class Connection:
    """One WebSocket after its handshake. Implements Transport.

    Attributes:
        client: the hub's.
        outbox: takes ready frames.
        heard: event-loop time of the client's last bytes.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_linger",
        "_loop",
        "_paused",
        "_pong",
        "_reader",
        "_sock",
        "_sockets",
        "client",
        "heard",
        "outbox",
    )  # fmt: skip

    name = "websocket"

    def __init__(self, sockets: WebSockets, sock: socket.socket) -> None:
        self.client: Client
        self._sockets = sockets
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(sockets.settings.max_frame_bytes, sockets.settings.max_fragments)
        self._pong: bytes | None = None
        self._closing = False
        self._paused = False
        self._linger: asyncio.TimerHandle | None = None
        self.heard = self._loop.time()
        self.outbox = Outbox(
            sockets.flusher,
            sock,
            sockets.settings.max_unsent_bytes,
            self._too_slow,
            self._broken,
            self._stalled,
        )

    def start(self, first: bytes) -> None:
        """Begin to read; `first` was read with the request."""
        self._sockets.connections.add(self)
        self._loop.add_reader(self._sock.fileno(), self._readable)
        if first:
            self._received(first)

    # Reading

    def _readable(self) -> None:
        if self._paused and not self._closing:  # since it was scheduled
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except WOULD_BLOCK:
            return
        except OSError:
            return self._broken()
        if not data:
            return self._broken()
        if self._closing:
            return  # after our close frame whatever comes is read and forgotten
        self._received(data)
        # TLS: what it has decrypted already does not make the descriptor readable again.
        self._read_on()

    def _read_on(self) -> None:
        paused = self._closing or self._paused
        if isinstance(self._sock, ssl.SSLSocket) and not paused and self._sock.pending():
            self._loop.call_soon(self._readable)

    def _received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        received, error = self._reader.feed(data)
        hub, client = self._sockets.hub, self.client
        for opcode, payload in received:
            if self._closing:
                return
            if opcode <= BINARY:
                hub.received(client, payload, opcode == BINARY)
            else:
                self._control(opcode, payload)
        if error is not None and not self._closing:
            self._broke_protocol(error)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._answer_ping(payload)
        elif opcode == CLOSE:
            try:
                code = close_code(payload)
            except WebSocketError as error:
                return self._broke_protocol(error)
            self._close(close_frame(code))
            self._sockets.hub.disconnected(self.client, "closed")

    def _answer_ping(self, payload: bytes) -> None:
        """RFC 6455 §5.5.3: of pings that could not be answered yet, the last one's answer is enough.

        So a client that sends pings and does not read makes us keep one.
        """
        if not self.outbox.blocked:
            self._pong = None
            self.outbox.send(ready(PONG, payload))
            return
        if self._pong is None:
            self._loop.call_later(PONG_AGAIN_SECONDS, self._pong_again)
        self._pong = payload

    def _pong_again(self) -> None:
        if self._closing or self._pong is None:
            return
        if self.outbox.blocked:
            self._loop.call_later(PONG_AGAIN_SECONDS, self._pong_again)
            return
        self.outbox.send(ready(PONG, self._pong))
        self._pong = None

    def _broke_protocol(self, error: WebSocketError) -> None:
        counters.count("frames_malformed")
        log.info("connection closed", code=int(error.code), reason=str(error))
        if not self._closing:
            self._close(close_frame(error.code, str(error) if error.code in LIMITS else ""))
        self._sockets.hub.disconnected(self.client, "closed")

    # Transport

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, then the close frame; hang up when the client does, or soon."""
        del reason  # Phoenix sends none; ours stands in the log
        if not self._closing:
            self._close(close_frame(code))

    def close_slow(self, unsent: int) -> None:
        """Hang up: a close frame would wait behind what the client does not read."""
        self._loop.call_soon(self._too_slow, unsent)

    def pause(self) -> None:
        """Read no more; the client's silence does not count meanwhile."""
        if not self._closing and not self._paused:
            self._paused = True
            self.heard = float("inf")
            self._loop.remove_reader(self._sock.fileno())

    def resume(self) -> None:
        """Read again."""
        if not self._closing and self._paused:
            self._paused = False
            self.heard = self._loop.time()
            self._loop.add_reader(self._sock.fileno(), self._readable)
            self._read_on()

    def time_out(self) -> None:
        """The client was silent for too long."""
        log.info("connection closed", code=int(CloseCode.PROTOCOL_ERROR), reason="idle")
        self.close(CloseCode.PROTOCOL_ERROR, "idle")
        self._sockets.hub.disconnected(self.client, "closed")

    # The end

    def _close(self, frame: bytes) -> None:
        self.outbox.send(frame)
        self._closing = True
        self._sockets.connections.discard(self)
        self._sockets.lingering.add(self)
        if self._paused:
            self._loop.add_reader(self._sock.fileno(), self._readable)
        self._linger = self._loop.call_later(LINGER_SECONDS, self._hang_up)
        self._loop.call_soon(self._loop.call_soon, self._shut_down)

    def _shut_down(self) -> None:
        """Say that nothing more follows; a plain close could destroy what the client has not read."""
        self.outbox.flush()
        if self.outbox.empty and self._sock.fileno() >= 0:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._hang_up()

    def _broken(self) -> None:
        self._hang_up()
        self._sockets.hub.disconnected(self.client, "closed")

    def _too_slow(self, unsent: int) -> None:
        # Later: this may be called from inside the fan-out to this client's topic.
        if not self._closing:
            self._loop.call_soon(self._hang_up_slow, unsent)

    def _hang_up_slow(self, unsent: int) -> None:
        if self._sock.fileno() < 0:
            return
        counters.count("slow_clients_closed")
        log.warning("slow client closed", socket_id=self.client.id, unsent=unsent)
        self.outbox.discard(SLOW_CLIENT)
        self._broken()

    def _stalled(self, dropped: Counter[str]) -> None:
        log.warning("a slow client missed broadcasts", socket_id=self.client.id, **dropped)

    def _hang_up(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._closing = True
        self._sockets.gone(self)
        if self._sock.fileno() < 0:
            return
        self.outbox.discard()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
