"""Sets up a node's process: output and signals before the application is imported, then the log."""

import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from mesh import settings as settings_module
from mesh.errors import MeshError
from mesh.nodes import banner
from mesh.nodes.runtime import ownership
from mesh.nodes.runtime.signals import signals
from mesh.settings import LogSettings
from mesh.telemetry import get_logger, output, records, streams
from mesh.telemetry.configuration import configure_logging

log = get_logger(__name__)

SUPERVISOR = "cluster"
START_ERROR_SECONDS = 5.0
"""How long to wait until the reason why a node cannot start is printed."""


def prepare(
    node: str, config: Path | None, flags: Mapping[str, Mapping[str, Any]], handle_signals: bool = True
) -> None:
    """Before the application is imported: handle signals, and make output non-blocking."""
    if not ownership.claimed():
        return
    streams.install()
    if handle_signals:
        signals.install()
    try:
        _configure_output(settings_module.load(None, config, flags).log, node)
    except MeshError:
        pass  # reported once the application's own settings are loaded


def configure(log_settings: LogSettings, node: str) -> None:
    """Configure logging, once the settings are loaded."""
    if not ownership.claimed():
        return
    signals.check()
    name = log_settings.node or node
    configure_logging(
        log_settings.level,
        log_settings.format,
        name,
        log_settings.filter_parameters,
        log_settings.keep_parameters,
        log_settings.similar_lines_per_second,
        log_settings.configure,
    )
    _configure_output(log_settings, node)
    if log_settings.format in records.RECORD_FORMATS and log_settings.configure:
        if sys.excepthook is sys.__excepthook__:
            sys.excepthook = _uncaught
        if threading.excepthook is threading.__excepthook__:
            threading.excepthook = _uncaught_in_thread


def report_error(error: MeshError) -> None:
    """Print an error, and wait at most START_ERROR_SECONDS until it is printed."""
    for line in str(error).splitlines():
        banner.error(line)
    output.flush(START_ERROR_SECONDS)


def _configure_output(log_settings: LogSettings, node: str) -> None:
    """Set the format of our output besides the log, and of what other code prints."""
    name = log_settings.node or node
    banner.configure(log_settings.format, name)
    convert = log_settings.format in records.RECORD_FORMATS and log_settings.configure
    streams.convert_lines(partial(_adopt, log_settings.format, name) if convert else None)
    if convert and node == SUPERVISOR:
        streams.capture_programs()  # the supervisor does this for all other nodes of its cluster
    if log_settings.format in records.RECORD_FORMATS:
        output.standard(2).notice = partial(_lost_lines_record, log_settings.format, name)


def _adopt(format: str, node: str, line: str) -> str | None:
    return records.to_record(format, line, node)


def _lost_lines_record(format: str, node: str, lines: int) -> bytes:
    sentence = output.lost_lines_notice(lines).decode().strip()
    return records.encode(format, records.record(sentence, node, "warning", lines=lines)).encode() + b"\n"


def _uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        log.error("uncaught exception", exc_info=error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread is not None else ""
        log.error("uncaught exception in a thread", thread=name, exc_info=args.exc_value)
