"""Phoenix Channels for Python, on a ZeroMQ mesh: the public API on one page.

Each name is imported on its first use, so that `import mesh` loads nothing else: the pytest plugin is part
of this package and is imported in every test run, and `mesh.connect` needs ZeroMQ, which applications must
be importable without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh import errors, telemetry
    from mesh.app import session_cookies, tokens
    from mesh.app.channel import TIMEOUT, Channel, RateLimit, RemoteChannel
    from mesh.app.endpoint import Endpoint
    from mesh.app.event_handlers import on
    from mesh.app.history import History, KeptBroadcast
    from mesh.app.mount import Mount, SessionCookie
    from mesh.app.presence import Presence
    from mesh.app.replies import Reply, SocketRef, error, ok, refuse
    from mesh.app.routes import Route
    from mesh.app.socket import Socket
    from mesh.app.socket_handler import ConnectInfo, SocketHandler
    from mesh.errors import MeshError
    from mesh.protocol.messages import Broadcast
    from mesh.pubsub_connection import connect

__all__ = [
    "TIMEOUT",
    "Broadcast",
    "Channel",
    "ConnectInfo",
    "Endpoint",
    "History",
    "KeptBroadcast",
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
    "errors",
    "ok",
    "on",
    "refuse",
    "session_cookies",
    "telemetry",
    "tokens",
]

_NAMES = {
    "mesh.app.channel": ("TIMEOUT", "Channel", "RateLimit", "RemoteChannel"),
    "mesh.app.endpoint": ("Endpoint",),
    "mesh.app.event_handlers": ("on",),
    "mesh.app.history": ("History", "KeptBroadcast"),
    "mesh.app.mount": ("Mount", "SessionCookie"),
    "mesh.app.presence": ("Presence",),
    "mesh.app.replies": ("Reply", "SocketRef", "error", "ok", "refuse"),
    "mesh.app.routes": ("Route",),
    "mesh.app.socket": ("Socket",),
    "mesh.app.socket_handler": ("ConnectInfo", "SocketHandler"),
    "mesh.errors": ("MeshError",),
    "mesh.protocol.messages": ("Broadcast",),
    "mesh.pubsub_connection": ("connect",),
}
_MODULES = ("mesh.errors", "mesh.telemetry", "mesh.app.session_cookies", "mesh.app.tokens")
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names} | {
    module.rpartition(".")[2]: module for module in _MODULES
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_MODULE_OF[name])
    value = globals()[name] = module if module.__name__.endswith(f".{name}") else getattr(module, name)
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
