"""The WebSocket transport of a gateway: its routes, its connections and their end."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from mesh.app.mount import Mount
from mesh.bus.calls import CallHandler
from mesh.gateway.flow.outbox import Flusher
from mesh.gateway.transports.admission import Admitted
from mesh.gateway.transports.base import Encoding
from mesh.gateway.transports.client_connection import idle_timer
from mesh.gateway.transports.handshake import handshakes
from mesh.gateway.transports.server import Services
from mesh.gateway.transports.websocket.connection import WebSocketConnection
from mesh.gateway.transports.websocket.frames import message_frame
from mesh.gateway.transports.websocket.handler import WebSocketHandler
from mesh.gateway.transports.websocket.upgrades import Upgrades
from mesh.protocol.serializers.base import Serializer
from mesh.protocol.serializers.registry import BY_NAME

ENCODINGS: dict[Serializer, Encoding] = {each: Encoding(each, message_frame) for each in BY_NAME.values()}


class WebSockets:
    """All WebSocket connections of a gateway. Implements TransportServer.

    Attributes:
        flusher: flushes their outboxes.
        lingering: the connections that have queued their close frame and wait for the client to close.
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
        """Return the routes `<mount>/websocket`."""
        return [
            (each.path.pattern, WebSocketHandler, {"websockets": self, "handshake": each})
            for each in self._handshakes
        ]

    def answers(self) -> Mapping[str, CallHandler]:
        """No calls: a connection belongs to one gateway."""
        return {}

    def start(self) -> None:
        """Nothing to start: clients arrive with requests."""

    def stop_accepting(self) -> None:
        """Cancel the handshakes in progress."""
        self.shortcut.close()

    async def aclose(self, timeout_seconds: float) -> None:
        """Return when the clients have closed their connections, or after the time-out."""
        self._idle.cancel()
        if self.lingering:
            self._all_closed = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_closed], timeout=timeout_seconds)

    # Called by requests

    def take_over(self, mount: Mount, admitted: Admitted, sock: socket.socket, early_data: bytes) -> None:
        """Take over a client that was sent its 101 response; `early_data` was read after its request."""
        connection = WebSocketConnection(self, sock)
        self._connections.add(connection)
        connection.admit(mount, admitted, ENCODINGS[admitted.serializer])
        if early_data:
            connection.received(early_data)

    # Called by connections

    def closing(self, connection: WebSocketConnection) -> None:
        """Note that its close frame is queued, and that it waits for the client to close."""
        self._connections.discard(connection)
        self.lingering.add(connection)

    def closed(self, connection: WebSocketConnection) -> None:
        """Note that it is closed."""
        self._connections.discard(connection)
        self.lingering.discard(connection)
        if self._all_closed is not None and not self.lingering and not self._all_closed.done():
            self._all_closed.set_result(None)
