"""Loggers for events with fields, and the checks made before a line's fields are created.

The destination of lines is set once, when a node has read its settings (`configuration.py`). Before that,
and in programs that are not nodes, they go to structlog as the program has configured it.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from mesh.telemetry.bounded_text import shorten_fields
from mesh.telemetry.counters import counters
from mesh.telemetry.filters import ParameterFilter
from mesh.telemetry.limiter import Kind

_NUMBERS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
TRACEBACK_LINES = 5
"""A line with a traceback counts as this many lines."""

Sink = Callable[[str, str, str, dict[str, Any]], None]
"""Called with logger, level, event and fields."""


class Gate(Protocol):
    """Limits the number of similar lines."""

    def admit(self, kind: Kind, lines: int) -> bool:
        """Return whether a line that counts as `lines` is written."""

    def suppress(self, kind: Kind) -> bool:
        """Count a line as left out if `admit` would refuse it, and return whether it would."""


def _by_structlog(name: str, level: str, event: str, fields: dict[str, Any]) -> None:
    import structlog  # here, because importing it takes longer than the whole package

    getattr(structlog.get_logger(name), level)(event, **fields)


_min_level = 0
_filter = ParameterFilter()
_sink: Sink = _by_structlog
_gate: Gate | None = None


def set_destination(min_level: int, secrets: ParameterFilter, sink: Sink, gate: Gate | None) -> None:
    """From now on, pass events of this level and above to `sink`, if `gate` admits them."""
    global _min_level, _filter, _sink, _gate
    _min_level, _filter, _sink, _gate = min_level, secrets, sink, gate


class Logger:
    """Logs events with fields: `log.warning("slow client closed", socket_id=…)`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, event: str, **fields: Any) -> None:
        """Log details that explain what a node does."""
        if _min_level <= logging.DEBUG:
            self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log something that may interest an operator."""
        if _min_level <= logging.INFO:
            self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log something that should not happen."""
        if _min_level <= logging.WARNING:
            self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log a failure."""
        if _min_level <= logging.ERROR:
            self._write("error", event, fields)

    def suppress(self, level: str, event: str) -> bool:
        """Leave out a line if there are too many similar ones, and return whether it was left out.

        Call this before creating the fields of a line that may be left out.
        """
        return _gate is not None and _gate.suppress((self.name, level, event))

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if _gate is not None:
            lines = TRACEBACK_LINES if "exc_info" in fields else 1
            if not _gate.admit((self.name, level, event), lines):
                return
        try:
            _sink(self.name, level, event, shorten_fields(fields))
        except Exception:  # e.g. of the application's handler: losing a line must not affect the caller
            counters.count("log_lines_lost")


def get_logger(name: str) -> Logger:
    """Return a logger for events with fields."""
    return Logger(name)


def enabled(level: str) -> bool:
    """Return whether a line of this level is logged; check this before creating its fields."""
    return _NUMBERS.get(level, logging.CRITICAL + 1) >= _min_level


def filtered(params: Any) -> Any:
    """Return `params` as they may be logged (settings log.filter_parameters, log.keep_parameters)."""
    return _filter(params)


def hide_in_path(path: str) -> None:
    """From now on, hide the secret variables of a path (`/socket/:token`) in all lines."""
    _filter.hide_in_path(path)


def milliseconds(seconds: float) -> float:
    """Return milliseconds for a log line, rounded to a microsecond."""
    return round(1000 * seconds, 3)


def log_to_logging() -> None:
    """In a program that is not a node: send our events to logging, if structlog is not configured.

    Otherwise structlog would print them all to the program's stdout.
    """
    import structlog

    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.format_exc_info,
                structlog.processors.LogfmtRenderer(key_order=["event"]),
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )
