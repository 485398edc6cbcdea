"""WebSocket: the HTTP request that becomes one, and the connection it becomes.

Tornado reads the request; after the 101 the socket is taken out of Tornado's stream and read and
written directly: nothing of the request stays in memory, and one frame costs one callback.
Source: Phoenix.Transports.WebSocket; closes as Cowboy and Bandit do them (PHOENIX-WIRE).
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable
from typing import Any

import msgspec
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from gateway.http.origin import OriginCheck
from gateway.http.params import decode_query
from gateway.hub import Client, Hub
from gateway.outbox import WOULD_BLOCK, Flusher, Outbox
from gateway.transports import upgrade
from gateway.transports.base import Encoding
from gateway.transports.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    close_code,
    close_frame,
    ready,
)
from mesh import topics
from mesh.channel import Reply
from mesh.endpoint import Mount
from mesh.errors import CloseCode, RemoteProtocolError, TopicError, WebSocketError
from mesh.serializers.base import Frame, Serializer
from mesh.serializers.registry import DEFAULT_VSN, SERIALIZERS, negotiate
from mesh.settings import GatewaySettings
from mesh.socket import ConnectInfo, SocketHandler
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.websocket")

READ_BYTES = 65_536
LINGER_SECONDS = 2.0
"""After our close frame the client has this long to hang up."""
MAX_ASSIGNS_BYTES = 100_000
ID_WAIT_SECONDS = 2.0
"""A connection with an id is accepted once its id topic is subscribed, or after this."""


def _ready(frame: Frame) -> bytes:
    return ready(BINARY if frame.binary else TEXT, frame.data)


ENCODINGS: dict[Serializer, Encoding] = {each: Encoding(each, _ready) for each in SERIALIZERS.values()}


class WebSockets:
    """All WebSocket connections of a gateway, and their idle time-out."""

    def __init__(self, hub: Hub, settings: GatewaySettings) -> None:
        self.hub = hub
        self.settings = settings
        self.flusher = Flusher()
        self.connections: set[Connection] = set()
        self.lingering: set[Connection] = set()
        self._all_gone: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._interval = min(1.0, settings.idle_timeout_seconds / 10)
        self._timer = self._loop.call_later(self._interval, self._check_idle)

    async def aclose(self, code: int, reason: str, timeout_seconds: float) -> None:
        """Close all connections; done when the clients have hung up, or after the time-out."""
        self._timer.cancel()
        for connection in list(self.connections):
            connection.close(code, reason)
            self.hub.disconnected(connection.client, "shutdown")
        if self.lingering:
            self._all_gone = self._loop.create_future()
            await asyncio.wait([self._all_gone], timeout=timeout_seconds)

    def gone(self, connection: "Connection") -> None:
        """A connection is closed for good."""
        self.connections.discard(connection)
        self.lingering.discard(connection)
        if self._all_gone is not None and not self.lingering and not self._all_gone.done():
            self._all_gone.set_result(None)

    def _check_idle(self) -> None:
        oldest = self._loop.time() - self.settings.idle_timeout_seconds
        for connection in [each for each in self.connections if each.heard < oldest]:
            connection.time_out()
        self._timer = self._loop.call_later(self._interval, self._check_idle)


class WebSocketHandler(RequestHandler):
    """`<mount>/websocket`: authenticates and upgrades. GET only; anything else is 400, empty."""

    def initialize(self, websockets: WebSockets, mount: Mount, origin: OriginCheck) -> None:
        """Tornado hands over what the application gave with the route."""
        self._websockets = websockets
        self._mount = mount
        self._origin = origin

    async def get(self, **path_params: str) -> None:
        """Check origin, then vsn, then `connect` and `id`; only then the upgrade."""
        request = self.request
        origin = request.headers.get("origin")
        if not self._origin.allows(origin, request.protocol, request.host):
            log.error("origin refused", origin=origin, path=request.path)
            return self._refuse(403)
        try:
            params = decode_query(request.query) | path_params
        except RemoteProtocolError as error:
            return self._refuse(400, str(error))
        try:
            serializer = negotiate(params.get("vsn", DEFAULT_VSN))
        except RemoteProtocolError as error:
            log.warning("connection refused", reason=str(error))
            return self._refuse(403)
        handler = self._mount.handler()
        if not await self._connect(handler, params):
            return self._refuse(403)
        problem = upgrade.problem(request.headers)
        if problem is not None:
            return self._refuse(400, problem)
        await self._upgrade(handler, serializer)

    def _refuse(self, status: int, sentence: str = "") -> None:
        counters.count("connections_refused")
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(sentence)

    async def _bad_request(self, **_path_params: str) -> None:
        self._refuse(400)

    post = put = patch = delete = head = options = _bad_request

    async def _connect(self, handler: SocketHandler, params: dict[str, Any]) -> bool:
        """Whether the application accepts. An exception in it is a 500, as in Phoenix."""
        result = handler.connect(params, self._connect_info())
        if isinstance(result, Awaitable):
            result = await result
        if result is False or (isinstance(result, Reply) and result.status == "error"):
            return False
        if result is not None and result is not True:
            log.error(
                "connect returned neither None, True, False nor refuse()",
                handler=type(handler).__name__,
                returned=repr(result)[:100],
            )
            return False
        return True

    def _connect_info(self) -> ConnectInfo:
        request = self.request
        peer = request.connection.context.address  # type: ignore[union-attr]
        return ConnectInfo(
            transport="websocket",
            peer=peer[:2] if isinstance(peer, tuple) else None,
            uri=request.uri or "",
            user_agent=request.headers.get("user-agent"),
            x_headers={
                name.lower(): value
                for name, value in request.headers.get_all()
                if name.lower().startswith("x-")
            },
        )

    async def _upgrade(self, handler: SocketHandler, serializer: Serializer) -> None:
        try:
            socket_id = _check_id(handler)
            assigns = _encode_assigns(handler.assigns)
        except (TopicError, TypeError, ValueError, msgspec.MsgspecError) as error:
            log.warning("connection refused", handler=type(handler).__name__, reason=str(error))
            return self._refuse(403)
        hub = self._websockets.hub
        if socket_id is not None:
            try:
                async with asyncio.timeout(ID_WAIT_SECONDS):
                    await hub.subscribe_id(socket_id)
            except TimeoutError:
                log.warning("id topic not subscribed in time", socket_id=socket_id)
        answer = upgrade.response(self.request.headers)
        try:
            sock, first = _take_over(self.detach(), answer)
        except (StreamClosedError, OSError, AttributeError):  # the client has gone meanwhile
            if socket_id is not None:
                hub.unsubscribe_id(socket_id)
            return
        connection = Connection(self._websockets, sock)
        connection.client = Client(
            self._mount.path,
            socket_id,
            assigns,
            ENCODINGS[serializer],
            connection,
            connection.outbox,
        )
        hub.connect(connection.client, self._mount)
        log.debug("connected", socket_id=socket_id, serializer=serializer.name)
        connection.start(first)


def _check_id(handler: SocketHandler) -> str | None:
    socket_id = handler.id()
    return None if socket_id is None else topics.check(socket_id)


def _encode_assigns(assigns: dict[str, Any]) -> bytes:
    encoded = msgspec.msgpack.encode(assigns)
    if len(encoded) > MAX_ASSIGNS_BYTES:
        raise ValueError(
            f"assigns of {len(encoded)} bytes; every join carries them, so {MAX_ASSIGNS_BYTES} are allowed"
        )
    return encoded


def _take_over(stream: IOStream, answer: bytes) -> tuple[socket.socket, bytes]:
    """Send the 101 and take the socket out of Tornado's stream, with what was read already."""
    stream.write(answer)
    first = asyncio.ensure_future(stream.read_bytes(READ_BYTES, partial=True))
    data = first.result() if first.done() else b""
    stream.io_loop.remove_handler(stream.fileno())
    sock = stream.socket
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock, data


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
        self._reader = FrameReader(sockets.settings.max_frame_bytes)
        self._closing = False
        self._paused = False
        self._linger: asyncio.TimerHandle | None = None
        self.heard = self._loop.time()
        self.outbox = Outbox(
            sockets.flusher, sock, sockets.settings.max_unsent_bytes, self._too_slow, self._broken
        )

    def start(self, first: bytes) -> None:
        """Begin to read; `first` was read with the request."""
        self._sockets.connections.add(self)
        self._loop.add_reader(self._sock.fileno(), self._readable)
        if first:
            self._received(first)

    # Reading

    def _readable(self) -> None:
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
        if isinstance(self._sock, ssl.SSLSocket) and not self._closing and self._sock.pending():
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
            self.outbox.send(ready(PONG, payload))
        elif opcode == CLOSE:
            try:
                code = close_code(payload)
            except WebSocketError as error:
                return self._broke_protocol(error)
            self._close(close_frame(code))
            self._sockets.hub.disconnected(self.client, "closed")

    def _broke_protocol(self, error: WebSocketError) -> None:
        counters.count("frames_malformed")
        log.info("connection closed", code=int(error.code), reason=str(error))
        self.close(error.code, "")
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
        self._broken()

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
