"""The WebSocket transport of a gateway: its connections, its routes, and the end of both."""

import asyncio
import socket
from typing import Any

from gateway.flow.outbox import Flusher
from gateway.transports.admission import Admitted
from gateway.transports.base import Encoding
from gateway.transports.client_connection import idle_timer
from gateway.transports.handshake import handshakes
from gateway.transports.server import Services
from gateway.transports.websocket.connection import WebSocketConnection
from gateway.transports.websocket.frames import BINARY, TEXT, ready
from gateway.transports.websocket.handler import WebSocketHandler
from gateway.transports.websocket.upgrades import Upgrades
from mesh.mount import Mount, path_pattern
from mesh.serializers.base import Frame, Serializer
from mesh.serializers.registry import BY_NAME


def _ready(frame: Frame) -> bytes:
    return ready(BINARY if frame.binary else TEXT, frame.data)


ENCODINGS: dict[Serializer, Encoding] = {each: Encoding(each, _ready) for each in BY_NAME.values()}


class WebSockets:
    """All WebSocket connections of a gateway. Implements TransportServer.

    Attributes:
        flusher: of their outboxes.
        lingering: those that have sent their close frame and wait for the client to hang up.
        shortcut: upgrades regular requests without Tornado.
    """

    name = "websocket"
    address = ""

    def __init__(self, services: Services) -> None:
        self.hub = services.hub
        self.settings = services.settings.gateway
        self.flusher: Flusher = services.flusher
        self._connections: set[WebSocketConnection] = set()
        self.lingering: set[WebSocketConnection] = set()
        self._all_closed: asyncio.Future[None] | None = None
        self._idle = idle_timer(lambda: self._connections, self.settings.idle_timeout_seconds)
        self._handshakes = handshakes(services.endpoint, self.name, self.settings)
        self.shortcut = Upgrades(self, self._handshakes)

    def routes(self) -> list[tuple[Any, ...]]:
        """`<mount>/websocket`."""
        return [
            (
                path_pattern(each.mount.path) + "/websocket",
                WebSocketHandler,
                {"websockets": self, "handshake": each},
            )
            for each in self._handshakes
        ]

    def start(self) -> None:
        """Requests bring clients; nothing is to be started."""

    def stop_accepting(self) -> None:
        """Give up the handshakes that are under way."""
        self.shortcut.close()

    async def aclose(self, timeout_seconds: float) -> None:
        """Done when the clients have hung up, or after the time-out."""
        self._idle.cancel()
        if self.lingering:
            self._all_closed = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_closed], timeout=timeout_seconds)

    # For requests

    def begin(self, mount: Mount, admitted: Admitted, sock: socket.socket, first: bytes) -> None:
        """The client has its 101: from now on it is the hub's. `first` came behind its request."""
        connection = WebSocketConnection(self, sock)
        self._connections.add(connection)
        connection.admit(mount, admitted, ENCODINGS[admitted.serializer])
        if first:
            connection.received(first)

    # For connections

    def closing(self, connection: WebSocketConnection) -> None:
        """Its close frame is on its way; it waits for the client to hang up."""
        self._connections.discard(connection)
        self.lingering.add(connection)

    def closed(self, connection: WebSocketConnection) -> None:
        """It is closed for good."""
        self._connections.discard(connection)
        self.lingering.discard(connection)
        if self._all_closed is not None and not self.lingering and not self._all_closed.done():
            self._all_closed.set_result(None)
