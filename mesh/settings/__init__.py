"""A node's settings: one model for each section, with units in the names.

Precedence, highest first: flags, environment variables (`MESH_GATEWAY__PORT`), a TOML file (`mesh.toml`
in the working directory, or the file given), the settings that the application passes to its Endpoint,
defaults.
"""

from mesh.settings.api import ApiSettings
from mesh.settings.bus import BusSettings, LinkSettings
from mesh.settings.gateway import GatewaySettings, LimitSettings
from mesh.settings.history import HistorySettings
from mesh.settings.loading import Explained, build, environment, explain, load
from mesh.settings.log import LogSettings
from mesh.settings.presence import PresenceSettings
from mesh.settings.secret import Secret
from mesh.settings.sections import (
    AdminSettings,
    DrainSettings,
    GarbageSettings,
    SecuritySettings,
    WorkerSettings,
)
from mesh.settings.settings import Settings
from mesh.settings.transports import LongPollSettings, ZeroMQSettings

__all__ = [
    "AdminSettings",
    "ApiSettings",
    "BusSettings",
    "DrainSettings",
    "Explained",
    "GarbageSettings",
    "GatewaySettings",
    "HistorySettings",
    "LimitSettings",
    "LinkSettings",
    "LogSettings",
    "LongPollSettings",
    "PresenceSettings",
    "Secret",
    "SecuritySettings",
    "Settings",
    "WorkerSettings",
    "ZeroMQSettings",
    "build",
    "environment",
    "explain",
    "load",
]
