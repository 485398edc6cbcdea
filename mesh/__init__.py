"""Phoenix Channels for Python, on a ZeroMQ mesh: the public API on one page."""

from mesh.channel import TIMEOUT, Channel, Reply, SocketRef, error, ok, on, refuse
from mesh.endpoint import Endpoint
from mesh.errors import MeshError
from mesh.messages import Broadcast
from mesh.mount import Mount, SessionCookie
from mesh.presence import Presence
from mesh.routes import Route
from mesh.socket import ConnectInfo, Socket, SocketHandler

__all__ = [
    "TIMEOUT",
    "Broadcast",
    "Channel",
    "ConnectInfo",
    "Endpoint",
    "MeshError",
    "Mount",
    "Presence",
    "Reply",
    "Route",
    "SessionCookie",
    "Socket",
    "SocketHandler",
    "SocketRef",
    "error",
    "ok",
    "on",
    "refuse",
]
