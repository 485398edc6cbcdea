"""A transport whose clients are objects in the same process, for tests of a gateway.

It is also the smallest complete transport: every transport needs all of it but the class MemoryClient.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from mesh.app.socket_handler import ConnectInfo
from mesh.bus.calls import CallHandler
from mesh.errors import MeshError
from mesh.gateway.transports.admission import RefusedError, admit
from mesh.gateway.transports.base import Encoding
from mesh.gateway.transports.client_connection import id_subscribed, idle_timer
from mesh.gateway.transports.client_phases import Phase
from mesh.gateway.transports.fetched_connection import FetchedConnection
from mesh.gateway.transports.server import Services
from mesh.protocol.serializers.registry import BY_NAME

ENCODINGS = {each: Encoding(each, lambda frame: frame.data) for each in BY_NAME.values()}


class MemoryClosedError(MeshError):
    """The gateway has closed the connection; `code` is None if it sent none."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class MemoryServer:
    """All memory clients of a gateway. Implements TransportServer."""

    name = "memory"
    address = ""
    shortcut = None

    def __init__(self, services: Services) -> None:
        self.hub = services.hub
        self.settings = services.settings.gateway
        self.connections: dict[MemoryConnection, None] = {}
        self._endpoint = services.endpoint
        self._accepting = True
        self._idle = idle_timer(lambda: self.connections, self.settings.idle_timeout_seconds)

    def routes(self) -> list[tuple[Any, ...]]:
        """Nothing is served over HTTP."""
        return []

    def answers(self) -> Mapping[str, CallHandler]:
        """There are no other gateways."""
        return {}

    def start(self) -> None:
        """Nothing to start: clients call `connect`."""

    def stop_accepting(self) -> None:
        """Refuse new clients with 503."""
        self._accepting = False

    async def aclose(self, timeout_seconds: float) -> None:
        """End all connections; what clients have not fetched is dropped."""
        del timeout_seconds
        self._idle.cancel()
        for connection in list(self.connections):
            connection.lost()

    async def connect(self, path: str, params: dict[str, Any]) -> "MemoryClient":
        """Connect a new client to the mount at `path`. Raises RefusedError."""
        mount = self._endpoint.mounts.get(path)
        if mount is None or not self._accepting:
            raise RefusedError(404 if mount is None else 503)
        admitted = await admit(mount, ConnectInfo(transport=self.name, uri=path), params)
        async with id_subscribed(self.hub, admitted):
            connection = MemoryConnection(self)
            self.connections[connection] = None
            connection.admit(mount, admitted, ENCODINGS[admitted.serializer])
        return MemoryClient(connection)


class MemoryConnection(FetchedConnection):
    """The gateway's side of a client.

    Attributes:
        code: the code that it was closed with, if any.
    """

    __slots__ = ("code",)

    name = "memory"
    _server: MemoryServer

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.code: int | None = None

    def _send_close(self, code: int | None, reason: str) -> None:
        self.code = code
        super()._send_close(code, reason)

    def _release(self) -> None:
        super()._release()
        self._server.connections.pop(self, None)


class MemoryClient:
    """The client's side."""

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection
        self._fetched: deque[bytes] = deque()

    async def send(self, data: bytes, binary: bool = False) -> None:
        """Send a message; wait while the gateway does not read. Raises MemoryClosedError."""
        connection = self._connection
        connection.last_heard = asyncio.get_running_loop().time()
        while not await connection.wait_until_open(1.0):
            if connection.phase is not Phase.PAUSED:
                raise MemoryClosedError(connection.code)
        connection.deliver(data, binary)

    async def next(self) -> bytes:
        """Return the next message. Raises MemoryClosedError at the end."""
        while not self._fetched:
            fetched = await self._connection.fetch(1.0)
            if fetched is None:
                raise MemoryClosedError(self._connection.code)
            self._fetched.extend(fetched)
        return self._fetched.popleft()

    def disconnect(self) -> None:
        """Disconnect without a close."""
        self._connection.lost()
