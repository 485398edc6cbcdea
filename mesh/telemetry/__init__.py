"""A node's telemetry: logs, counters, hooks. `telemetry.attach("channel_joined", handler)`."""

from mesh.telemetry.bounded_text import shorten
from mesh.telemetry.complaints import Complaints
from mesh.telemetry.counters import COUNTERS, counters, stats
from mesh.telemetry.events import EVENTS, attach, attached, detach, emit
from mesh.telemetry.logs import enabled, filtered, get_logger, hide_in_path, log_to_logging, milliseconds

__all__ = [
    "COUNTERS",
    "EVENTS",
    "Complaints",
    "attach",
    "attached",
    "counters",
    "detach",
    "emit",
    "enabled",
    "filtered",
    "get_logger",
    "hide_in_path",
    "log_to_logging",
    "milliseconds",
    "shorten",
    "stats",
]
