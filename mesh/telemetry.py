"""Logs and counters: one handler for everything, one documented name for each count."""

import logging
import sys
from collections.abc import Mapping
from typing import Any, cast

import structlog

COUNTERS: Mapping[str, str] = {
    "broadcasts_unencodable": "broadcasts skipped for clients whose protocol cannot carry them",
    "api_messages_published": "messages published over HTTP",
    "api_requests_refused": "requests to publish over HTTP answered with 4xx or 503",
    "background_tasks_failed": "background tasks of the application that raised, and were started again",
    "bus_backlog_dropped": "bus messages dropped because the backlog was full or the node stopped",
    "bus_messages_malformed": "bus messages that were not of our protocol",
    "channels_crashed": "channels ended by an exception",
    "connections_refused": "WebSocket requests refused",
    "frames_malformed": "client messages that closed their connection with 1002, 1007, 1009 or 1011",
    "handlers_failed": "messages whose handling failed by an error of ours, logged with a traceback",
    "hold_timeouts": "commands that waited in vain for the broadcast before them",
    "link_commands_unencodable": "link commands dropped because they could not be encoded",
    "link_messages_malformed": "link messages that were not of our protocol",
    "longpoll_lines_dropped": "messages beyond the 100th of one long-poll request",
    "mailboxes_overflowed": "channels ended because their mailbox was full",
    "messages_unencodable": "pushes skipped because the client's protocol cannot carry them",
    "presence_callbacks_failed": "calls of fetch or handle_metas that raised",
    "presence_diffs_unencodable": "presence diffs dropped because fetch made them too large or no JSON",
    "pushes_without_channel": "pushes and leaves for channels that had ended",
    "replies_unencodable": "replies skipped because the client's protocol cannot carry them",
    "slow_clients_closed": "connections ended because the client read too slowly",
    "stale_messages_ignored": "messages with the join_ref of an earlier join",
    "subscription_broadcasts_dropped": "broadcasts dropped because a subscription was not read in time",
}
"""Every count there is, and what it counts."""


class Counters:
    """Counts of this process, by the names in COUNTERS."""

    def __init__(self) -> None:
        self._values = dict.fromkeys(COUNTERS, 0)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a count. Raises KeyError for a name that is not in COUNTERS."""
        self._values[name] += amount

    def value(self, name: str) -> int:
        """One count."""
        return self._values[name]

    def snapshot(self) -> dict[str, int]:
        """All counts."""
        return dict(self._values)


counters = Counters()
"""Of this process."""


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


def configure_logging(level: str, format: str, node: str) -> None:
    """Send our events and the standard library's logs to stderr, in one format.

    Args:
        level: "debug", "info", "warning" or "error".
        format: "console", "json" or "logfmt".
        node: what every line names as its node, e.g. "gateway".
    """
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
