"""WebSocket: the HTTP request that becomes one.

Tornado reads the request; after the 101 the socket is taken out of Tornado's stream and handed to a
Connection: nothing of the request stays in memory. Source: Phoenix.Transports.WebSocket.
"""

import asyncio
import socket

from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from gateway.client import Client
from gateway.transports.admission import Admitted, RefusedError
from gateway.transports.base import Encoding
from gateway.transports.handshake import Handshake, undecoded
from gateway.transports.websocket import upgrade
from gateway.transports.websocket.connection import READ_BYTES, Connection, WebSockets
from gateway.transports.websocket.frames import BINARY, TEXT, ready
from mesh.mount import Mount
from mesh.serializers.base import Frame, Serializer
from mesh.serializers.registry import BY_NAME
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.websocket")


def _ready(frame: Frame) -> bytes:
    return ready(BINARY if frame.binary else TEXT, frame.data)


ENCODINGS: dict[Serializer, Encoding] = {each: Encoding(each, _ready) for each in BY_NAME.values()}


class WebSocketHandler(RequestHandler):
    """`<mount>/websocket`: authenticates and upgrades. GET only; anything else is 400, empty."""

    BODIES = ()

    def initialize(self, websockets: WebSockets, handshake: Handshake) -> None:
        """Tornado hands over what the application gave with the route."""
        self._websockets = websockets
        self._handshake = handshake

    decode_argument = undecoded

    async def get(self, **_path_params: str) -> None:
        """The handshake first, and only then the upgrade."""
        try:
            admitted = await self._handshake.admit(self.request)
            problem = upgrade.problem(self.request.headers)
            if problem is not None:
                raise RefusedError(400, problem)
        except RefusedError as refused:
            return self._refuse(refused.status, refused.sentence)
        await self._upgrade(admitted)

    def _refuse(self, status: int, sentence: str = "") -> None:
        counters.count("connections_refused")
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(sentence)

    async def _bad_request(self, **_path_params: str) -> None:
        self._refuse(400)

    post = put = patch = delete = head = options = _bad_request

    async def _upgrade(self, admitted: Admitted) -> None:
        hub = self._websockets.hub
        socket_id = admitted.socket_id
        if socket_id is not None:
            await hub.socket_ids.subscribe(socket_id)
        answer = upgrade.response(self.request.headers, admitted.subprotocol)
        try:
            sock, first = _take_over(self.detach(), answer)
        except (StreamClosedError, OSError, AttributeError):  # the client has gone meanwhile
            if socket_id is not None:
                hub.socket_ids.unsubscribe(socket_id)
            return
        begin(self._websockets, self._handshake.mount, admitted, sock, first)


def begin(
    websockets: WebSockets, mount: Mount, admitted: Admitted, sock: socket.socket, first: bytes
) -> None:
    """The client has its 101: from now on it is the hub's. `first` came behind its request."""
    connection = Connection(websockets, sock)
    connection.client = Client(
        mount.path,
        admitted.socket_id,
        admitted.assigns,
        ENCODINGS[admitted.serializer],
        connection,
        connection.outbox,
    )
    websockets.hub.connect(connection.client, mount)
    connection.start(first)


def _take_over(stream: IOStream, answer: bytes) -> tuple[socket.socket, bytes]:
    """Send the 101 and take the socket out of Tornado's stream, with what was read already."""
    stream.write(answer)
    first = asyncio.ensure_future(stream.read_bytes(READ_BYTES, partial=True))
    data = first.result() if first.done() else b""
    stream.io_loop.remove_handler(stream.fileno())
    sock = stream.socket
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock, data
