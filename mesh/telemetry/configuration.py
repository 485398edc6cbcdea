"""Sends the logs of a node to our own handler, or to the handlers of the application."""

import logging
from collections.abc import Sequence

from mesh.telemetry import handlers, logs
from mesh.telemetry.filters import DEFAULT_FILTER, ParameterFilter
from mesh.telemetry.similar import SimilarLines

LINES_PER_SECOND = 50


def configure_logging(
    level: str,
    format: str,
    node: str,
    filter_parameters: Sequence[str] = DEFAULT_FILTER,
    keep_parameters: Sequence[str] | None = None,
    lines_per_second: int = LINES_PER_SECOND,
    configure: bool = True,
) -> None:
    """Send our events and the standard library's logs to stderr, in one format.

    If the application has added handlers to the root logger, these are used instead: our events are sent to
    them as text, and levels and format are the application's.

    Args:
        level: "debug", "info", "warning" or "error".
        format: "console", "json" or "logfmt".
        node: the name of the node in every line, e.g. "gateway".
        filter_parameters: parameters whose names contain one of these are hidden.
        keep_parameters: if given, all other parameters are hidden instead.
        lines_per_second: the most lines of one event; further ones are left out and counted; 0 for no
            limit.
        configure: if False, logging and structlog are left as the application has configured them.
    """
    secrets = ParameterFilter(filter_parameters, keep_parameters)
    if not configure or handlers.application_logs():
        min_level = min(logger.getEffectiveLevel() for logger in _ours())
        sink = handlers.application_sink(secrets)
    else:
        min_level = logging.getLevelNamesMapping()[level.upper()]
        handlers.install(min_level, format, node, secrets)
        sink = handlers.own_sink
    for logger in _ours():
        logger.disabled = False  # `dictConfig` disables existing loggers by default
    gate = SimilarLines(lines_per_second, sink) if lines_per_second else None
    logs.set_destination(min_level, secrets, sink, gate)
    handlers.filter_library_loggers(secrets, gate)


def _ours() -> list[logging.Logger]:
    existing = logging.root.manager.loggerDict
    ours = [name for name in existing if handlers.is_ours(name)]
    return [logging.getLogger(name) for name in {handlers.ROOT, *ours}]
