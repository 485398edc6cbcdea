"""The destination of a node's log lines: our own handler on stderr, or those of the application."""

import logging
import sys
from typing import Any

import structlog

from mesh.telemetry import output, records
from mesh.telemetry.bounded_text import shorten, shorten_fields, visible
from mesh.telemetry.filters import MAX_TEXT, ParameterFilter
from mesh.telemetry.logs import TRACEBACK_LINES, Gate, Sink

LIBRARY_LOGGERS = ("tornado.access", "tornado.application", "tornado.general", "asyncio")
"""Loggers of libraries that report what clients do."""

MAX_LIBRARY_CHARACTERS = 1_000
"""The limit for their messages, without tracebacks: they quote requests."""

ROOT = "mesh"
_format_exception = logging.Formatter().formatException
_shared_processors: list[Any] = []
"""Processors of every line, ours or not."""
_logfmt = structlog.processors.LogfmtRenderer()


def is_ours(name: str) -> bool:
    """Return whether a logger is one of ours."""
    return name.partition(".")[0] == ROOT


class OutputHandler(logging.Handler):
    """Queues lines for stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Format and queue a line; an error is reported, but not raised."""
        try:
            line = self.format(record)
            output.standard(2).write(line.encode("utf-8", "backslashreplace") + b"\n")
        except Exception:
            self.handleError(record)


def application_logs() -> bool:
    """Return whether the application has added handlers to the root logger.

    A handler that `logging.warning(…)` and similar calls added automatically does not count, because nobody
    chose it, nor does `NullHandler`, which does not ask for silence.
    """
    silent = (OutputHandler, logging.NullHandler)
    chosen = [each for each in logging.root.handlers if not isinstance(each, silent)]
    return bool(chosen) and not (len(chosen) == 1 and _is_from_basic_config(chosen[0]))


def _is_from_basic_config(handler: logging.Handler) -> bool:
    return (
        type(handler) is logging.StreamHandler
        and handler.formatter is not None
        and handler.formatter._fmt == logging.BASIC_FORMAT
        and logging.root.level == logging.WARNING
    )


def install(level: int, format: str, node: str, secrets: ParameterFilter) -> None:
    """Make our handler the root logger's only one."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if format == "console" else "iso"),
        _node_processor(node),
    ]
    if not structlog.is_configured():  # if configured, it is for the application's own events
        structlog.configure(
            processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.stdlib.LoggerFactory(),
            cache_logger_on_first_use=True,
        )
    handler = OutputHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.processors.format_exc_info,
                _secrets_processor(secrets),
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderer(format),
            ],
        )
    )
    _shared_processors[:] = shared
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Tornado would log every request a second time; its warnings are handshake failures.
    _set_level("tornado.access", logging.ERROR)
    _set_level("asyncio", max(level, logging.WARNING))


def _set_level(name: str, level: int) -> None:
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:  # otherwise the application has set it
        logger.setLevel(level)


def own_sink(name: str, level: str, event: str, fields: dict[str, Any]) -> None:
    """Log one of our events with our handler."""
    logger = logging.getLogger(name)
    number = getattr(logging, level.upper())
    if not logger.isEnabledFor(number):
        return
    values: Any = {"event": event, **_bound_values(), **fields}
    values["event"] = event  # overrides a bound value of the same name
    for processor in _shared_processors:
        values = processor(logger, level, values)
    logger.log(number, values, extra={"_logger": logger, "_name": level})


def _bound_values() -> dict[str, Any]:
    """Return what the application has bound to the context, for example the name of a user."""
    return shorten_fields(structlog.contextvars.get_contextvars())


def application_sink(secrets: ParameterFilter) -> Sink:
    """Return a sink that logs our events with the application's handlers: `event="…" field=value`."""

    def log(name: str, level: str, event: str, fields: dict[str, Any]) -> None:
        logger = logging.getLogger(name)
        number = getattr(logging, level.upper())
        if not logger.isEnabledFor(number):
            return
        values = {**_bound_values(), **fields}
        error = values.pop("exc_info", None)
        raised = (type(error), error, error.__traceback__) if isinstance(error, BaseException) else None
        shown = {key: _printable(value, secrets) for key, value in values.items()}
        text = f"{event} {_logfmt(None, '', shown)}" if shown else event
        record = logger.makeRecord(name, number, "(channelmesh)", 0, text, (), raised)
        hide_secrets(record, secrets)
        logger.handle(record)

    return log


class _LibraryFilter(logging.Filter):
    """Hides secrets, and leaves out lines if there are too many similar ones."""

    def __init__(self, secrets: ParameterFilter, gate: Gate | None) -> None:
        super().__init__()
        self._secrets = secrets
        self._gate = gate

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged; replace its text by what may be shown of it."""
        if self._gate is not None:
            kind = (record.name, record.levelname.lower(), f"{record.module}:{record.lineno}")
            if not self._gate.admit(kind, TRACEBACK_LINES if record.exc_info else 1):
                return False
        hide_secrets(record, self._secrets, MAX_LIBRARY_CHARACTERS)
        return True


def filter_library_loggers(secrets: ParameterFilter, gate: Gate | None) -> None:
    """Filter the loggers of LIBRARY_LOGGERS, whichever handlers write their lines."""
    for name in LIBRARY_LOGGERS:
        logger = logging.getLogger(name)
        logger.filters = [each for each in logger.filters if not isinstance(each, _LibraryFilter)]
        logger.addFilter(_LibraryFilter(secrets, gate))


def hide_secrets(record: logging.LogRecord, secrets: ParameterFilter, limit: int = MAX_TEXT) -> None:
    """Replace a record's text and traceback by what may be shown of them."""
    try:
        text = record.getMessage()
    except Exception:  # the arguments do not match the format, which logging reports
        return
    record.msg, record.args = visible(shorten(secrets.text(text), limit)), ()
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = visible(secrets.text(_format_exception(record.exc_info)))


def _secrets_processor(secrets: ParameterFilter) -> Any:
    def hide(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        """Hide secrets in our own lines and those of LIBRARY_LOGGERS, but not in the application's."""
        name = event["_record"].name
        if name in LIBRARY_LOGGERS or is_ours(name):
            for key, value in event.items():
                if isinstance(value, str) or not isinstance(value, (int, float, dict)):
                    event[key] = value if key in ("_record", "_logger") else _printable(value, secrets)
        return event

    return hide


def _printable(value: Any, secrets: ParameterFilter) -> Any:
    if isinstance(value, str):
        return visible(secrets.text(value))
    if isinstance(value, (list, tuple)):
        return [_printable(each, secrets) for each in value]
    if value is None or isinstance(value, (int, float, dict)):
        return value  # a dict contains parameters, which were filtered when they were logged
    return secrets.text(repr(value))


def _node_processor(node: str) -> Any:
    def add(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        if "node" in event:  # another node, which the line is about
            event["other_node"] = event["node"]
        event["node"] = node
        return event

    return add


def _renderer(format: str) -> list[Any]:
    if format in records.RECORD_FORMATS:
        return [lambda _logger, _method, event: records.encode(format, event)]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
