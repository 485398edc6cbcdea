"""What a node tells of itself: logs, counts, hooks. `telemetry.attach("channel_joined", handler)`."""

from mesh.telemetry.complaints import Complaints
from mesh.telemetry.counters import COUNTERS, counters, stats
from mesh.telemetry.events import EVENTS, attach, attached, detach, emit
from mesh.telemetry.logs import (
    configure_logging,
    enabled,
    filtered,
    get_logger,
    log_to_logging,
    milliseconds,
)

__all__ = [
    "COUNTERS",
    "EVENTS",
    "Complaints",
    "attach",
    "attached",
    "configure_logging",
    "counters",
    "detach",
    "emit",
    "enabled",
    "filtered",
    "get_logger",
    "log_to_logging",
    "milliseconds",
    "stats",
]
