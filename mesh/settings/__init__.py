"""All settings: one model per room, units in the names.

In order of precedence: flags, environment (`MESH_GATEWAY__PORT`), a TOML file (`mesh.toml` in the
working directory, or the one named), what the application gives its Endpoint, defaults.
"""

from mesh.settings.api import ApiSettings
from mesh.settings.loading import Explained, environment, explain, load
from mesh.settings.presence import PresenceSettings
from mesh.settings.rooms import (
    AdminSettings,
    BusSettings,
    DrainSettings,
    GarbageSettings,
    GatewaySettings,
    LimitSettings,
    LinkSettings,
    LogSettings,
    LongPollSettings,
    SecuritySettings,
    WorkerSettings,
    ZeroMQSettings,
)
from mesh.settings.settings import Settings

__all__ = [
    "AdminSettings",
    "ApiSettings",
    "BusSettings",
    "DrainSettings",
    "Explained",
    "GarbageSettings",
    "GatewaySettings",
    "LimitSettings",
    "LinkSettings",
    "LogSettings",
    "LongPollSettings",
    "PresenceSettings",
    "SecuritySettings",
    "Settings",
    "WorkerSettings",
    "ZeroMQSettings",
    "environment",
    "explain",
    "load",
]
