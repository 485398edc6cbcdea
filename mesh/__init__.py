"""Phoenix Channels for Python, on a ZeroMQ mesh: the public API on one page."""

from typing import TYPE_CHECKING, Any

from mesh.app.channel import TIMEOUT, Channel, RateLimit, RemoteChannel, on
from mesh.app.endpoint import Endpoint
from mesh.app.mount import Mount, SessionCookie
from mesh.app.presence import Presence
from mesh.app.replies import Reply, SocketRef, error, ok, refuse
from mesh.app.routes import Route
from mesh.app.socket import ConnectInfo, Socket, SocketHandler
from mesh.errors import MeshError
from mesh.protocol.messages import Broadcast

if TYPE_CHECKING:
    from mesh.pubsub_connection import connect

__all__ = [
    "TIMEOUT",
    "Broadcast",
    "Channel",
    "ConnectInfo",
    "Endpoint",
    "MeshError",
    "Mount",
    "Presence",
    "RateLimit",
    "RemoteChannel",
    "Reply",
    "Route",
    "SessionCookie",
    "Socket",
    "SocketHandler",
    "SocketRef",
    "connect",
    "error",
    "ok",
    "on",
    "refuse",
]


def __getattr__(name: str) -> Any:
    """Import `mesh.connect` on first use: it imports ZeroMQ, which applications do not need."""
    if name == "connect":
        from mesh.pubsub_connection import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
