"""Logs: one handler for everything, events with fields, parameters filtered."""

import logging
import sys
from collections.abc import Sequence
from typing import Any, cast

import structlog

from mesh.telemetry.filters import DEFAULT_FILTER, ParameterFilter

_NUMBERS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger for events with fields: `log.warning("slow client closed", socket_id=…)`."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(name))


def log_to_logging() -> None:
    """In a program that is no node: our events go to the standard library's logs, if structlog is free.

    Without this, structlog would print them all to the program's stdout.
    """
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


_least = 0
_filter = ParameterFilter()


def enabled(level: str) -> bool:
    """Whether a line of this level would be logged: before its fields are made."""
    return _NUMBERS.get(level, logging.CRITICAL + 1) >= _least


def filtered(params: Any) -> Any:
    """`params` as they may stand in a log (settings log.filter_parameters, log.keep_parameters)."""
    return _filter(params)


def milliseconds(seconds: float) -> float:
    """For a log: rounded to a microsecond."""
    return round(1000 * seconds, 3)


def configure_logging(
    level: str,
    format: str,
    node: str,
    filter_parameters: Sequence[str] = DEFAULT_FILTER,
    keep_parameters: Sequence[str] | None = None,
) -> None:
    """Send our events and the standard library's logs to stderr, in one format.

    Args:
        level: "debug", "info", "warning" or "error".
        format: "console", "json" or "logfmt".
        node: what every line names as its node, e.g. "gateway".
        filter_parameters: parameters whose names contain one of these are hidden.
        keep_parameters: if given, all others are hidden instead.
    """
    global _least, _filter
    _filter = ParameterFilter(filter_parameters, keep_parameters)
    _least = logging.getLevelNamesMapping()[level.upper()]
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if format == "console" else "iso"),
        _name_node(node),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderer(format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    # Every request line would be logged twice over by Tornado; handshake failures are its warnings.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(max(number, logging.WARNING))


def _name_node(node: str) -> Any:
    def add(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event.setdefault("node", node)
        return event

    return add


def _renderer(format: str) -> list[Any]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    if format == "logfmt":
        return [structlog.processors.format_exc_info, structlog.processors.LogfmtRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
