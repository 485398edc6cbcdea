"""Tornado's handler of WebSocket requests.

After the 101 response, the socket is taken out of Tornado's stream and passed to a connection of ours, so
nothing of the request stays in memory. Source: Phoenix.Transports.WebSocket.
"""

import asyncio
import socket
from typing import Protocol

from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from mesh.app.mount import Mount
from mesh.gateway.hub import Hub
from mesh.gateway.transports.admission import Admitted, RefusedError
from mesh.gateway.transports.client_connection import ClientGoneError, id_subscribed
from mesh.gateway.transports.handshake import Handshake, undecoded
from mesh.gateway.transports.websocket import upgrade
from mesh.gateway.transports.websocket.connection import READ_BYTES
from mesh.telemetry import counters


class UpgradeServer(Protocol):
    """What a request needs from the gateway's WebSocket transport."""

    hub: Hub

    def take_over(self, mount: Mount, admitted: Admitted, sock: socket.socket, early_data: bytes) -> None:
        """Take over a client that was sent its 101 response; `early_data` was read after its request."""


class WebSocketHandler(RequestHandler):
    """`<mount>/websocket`: authenticates and upgrades. GET only; other methods get an empty 400."""

    BODIES = ()

    def initialize(self, websockets: UpgradeServer, handshake: Handshake) -> None:
        """Called by Tornado with the arguments of the route."""
        self._websockets = websockets
        self._handshake = handshake

    decode_argument = undecoded

    async def get(self, **_path_params: str) -> None:
        """Run the handshake, and only then upgrade."""
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
        try:
            async with id_subscribed(self._websockets.hub, admitted):
                sock, early_data = self._detach_socket(admitted)
                self._websockets.take_over(self._handshake.mount, admitted, sock, early_data)
        except ClientGoneError:
            pass

    def _detach_socket(self, admitted: Admitted) -> tuple[socket.socket, bytes]:
        """Send the 101 and take the socket out of Tornado's stream, with the bytes already read."""
        answer = upgrade.response(self.request.headers, admitted.subprotocol)
        try:
            return _detach(self.detach(), answer)
        except (StreamClosedError, OSError, AttributeError) as error:  # the stream is closed
            raise ClientGoneError(str(error)) from None


def _detach(stream: IOStream, answer: bytes) -> tuple[socket.socket, bytes]:
    stream.write(answer)
    reading = asyncio.ensure_future(stream.read_bytes(READ_BYTES, partial=True))
    data = reading.result() if reading.done() else b""
    stream.io_loop.remove_handler(stream.fileno())
    sock = stream.socket
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock, data
