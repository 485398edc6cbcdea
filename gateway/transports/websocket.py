"""WebSocket: the HTTP request that becomes one.

Tornado reads the request; after the 101 the socket is taken out of Tornado's stream and handed to a
Connection: nothing of the request stays in memory. Source: Phoenix.Transports.WebSocket.
"""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

import msgspec
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from gateway.http.origin import OriginCheck
from gateway.http.params import decode_query
from gateway.hub import Client
from gateway.transports import upgrade
from gateway.transports.base import Encoding
from gateway.transports.connection import READ_BYTES, Connection, WebSockets
from gateway.transports.frames import BINARY, TEXT, ready
from mesh import topics
from mesh.channel import Reply
from mesh.endpoint import Mount
from mesh.errors import RemoteProtocolError, TopicError
from mesh.serializers.base import Frame, Serializer
from mesh.serializers.registry import DEFAULT_VSN, SERIALIZERS, negotiate
from mesh.socket import ConnectInfo, SocketHandler
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.websocket")

MAX_ASSIGNS_BYTES = 100_000
ID_WAIT_SECONDS = 2.0
"""A connection with an id is accepted once its id topic is subscribed, or after this."""


def _ready(frame: Frame) -> bytes:
    return ready(BINARY if frame.binary else TEXT, frame.data)


ENCODINGS: dict[Serializer, Encoding] = {each: Encoding(each, _ready) for each in SERIALIZERS.values()}


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
