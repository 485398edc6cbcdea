"""Phoenix Channels for Python, on a ZeroMQ mesh: the public API on one page."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mesh.app.channel import TIMEOUT, Channel, RateLimit, RemoteChannel, on
from mesh.app.endpoint import Endpoint
from mesh.app.mount import Mount, SessionCookie
from mesh.app.presence import Presence
from mesh.app.replies import Reply, SocketRef, error, ok, refuse
from mesh.app.routes import Route
from mesh.app.socket import Socket
from mesh.app.socket_handler import ConnectInfo, SocketHandler
from mesh.errors import MeshError
from mesh.protocol.messages import Broadcast

if TYPE_CHECKING:
    from mesh.app import session_cookies, tokens
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
    "session_cookies",
    "tokens",
]


def __getattr__(name: str) -> Any:
    """Import on first use: `connect` needs ZeroMQ, `tokens` and `session_cookies` need itsdangerous."""
    if name == "connect":
        return import_module("mesh.pubsub_connection").connect
    if name in ("session_cookies", "tokens"):
        return import_module(f"mesh.app.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
