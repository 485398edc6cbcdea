"""The contract of a client's transport.

connector = WebSocketConnector(address, …)
connection = await connector.connect({"token": "…", "vsn": "2.0.0"})
await connection.send(Frame(b'["1","1","room:1","phx_join",{}]', False))
frame = await connection.recv()
await connection.close(1000, "")
await connector.aclose()
"""

from typing import Any, Protocol

from mesh.errors import ConnectError
from mesh.protocol.serializers.base import Frame


class ConnectionEnded(ConnectError):  # noqa: N818
    """The connection has ended; `code` is a WebSocket close code, 1006 if there was no close."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection was closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


ABNORMAL_CLOSURE = 1006
"""The connection ended without a close (RFC 6455 §7.4.1)."""


class Connection(Protocol):
    """One open connection."""

    async def send(self, frame: Frame) -> None:
        """Send a message; return when the kernel or ZeroMQ has it. Raises ConnectionEnded."""

    async def recv(self) -> Frame:
        """Return the next message. Raises ConnectionEnded."""

    async def close(self, code: int, reason: str) -> None:
        """Close the connection and release its resources, within about a second."""


class Connector(Protocol):
    """Opens connections to one server."""

    async def connect(self, params: dict[str, Any]) -> Connection:
        """Open a connection. A cancelled call leaves no resources behind.

        Raises:
            ConnectRefused: if the server refuses this client.
            ConnectError: if it does not answer.
        """

    async def aclose(self) -> None:
        """Release what the connections share."""
