"""Phoenix Channels for Python, on a ZeroMQ mesh: the public API on one page."""

from typing import TYPE_CHECKING, Any

from mesh.channel import TIMEOUT, Channel, RateLimit, RemoteChannel, on
from mesh.endpoint import Endpoint
from mesh.errors import MeshError
from mesh.messages import Broadcast
from mesh.mount import Mount, SessionCookie
from mesh.presence import Presence
from mesh.replies import Reply, SocketRef, error, ok, refuse
from mesh.routes import Route
from mesh.socket import ConnectInfo, Socket, SocketHandler

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
