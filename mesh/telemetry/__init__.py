"""A node's telemetry: logs, counters, hooks. `telemetry.attach("channel_joined", handler)`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mesh.telemetry.bounded_text import shorten
from mesh.telemetry.complaints import Complaints
from mesh.telemetry.counters import COUNTERS, counters, stats
from mesh.telemetry.events import EVENTS, attach, attached, detach, emit
from mesh.telemetry.logs import (
    crowded,
    enabled,
    filtered,
    get_logger,
    log_to_logging,
    milliseconds,
)

if TYPE_CHECKING:
    from mesh.telemetry.configuration import configure_logging

__all__ = [
    "COUNTERS",
    "EVENTS",
    "Complaints",
    "attach",
    "attached",
    "configure_logging",
    "counters",
    "crowded",
    "detach",
    "emit",
    "enabled",
    "filtered",
    "get_logger",
    "log_to_logging",
    "milliseconds",
    "shorten",
    "stats",
]


def __getattr__(name: str) -> Any:
    """Import modules that open threads and files only when they are needed."""
    if name == "configure_logging":
        return import_module("mesh.telemetry.configuration").configure_logging
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
