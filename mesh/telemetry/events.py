"""Hooks: call a function when something happens. They are Phoenix's telemetry events, and some more.

    from mesh import telemetry

    def slow(event, measurements, metadata):
        if measurements["duration"] > 0.1:
            print(metadata["topic"], metadata["event"])

    telemetry.attach("channel_handled_in", slow)

Handlers run synchronously, in the event loop of a gateway or a worker: they must be quick. A handler that
raises is logged and detached. A handler sees the context variables of what the event is about, e.g. of the
channel that crashed; variables that it sets itself are discarded after the call.
"""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any

from mesh.telemetry.logs import get_logger

log = get_logger(__name__)

Handler = Callable[[str, dict[str, Any], dict[str, Any]], None]

EVENTS: Mapping[str, str] = {
    "node_started": "measurements: none; metadata: node, kind",
    "node_stopped": "measurements: none; metadata: node, kind",
    "socket_connected": "duration (s); handler, transport, serializer, socket_id, result (ok, refused)",
    "socket_disconnected": "measurements: none; transport, socket_id, reason",
    "socket_drain": "count, total, index, rounds; metadata: none",
    "channel_joined": "duration (s); channel, topic, socket_id, result (ok, error)",
    "channel_handled_in": "duration (s); channel, topic, socket_id, event",
    "channel_ended": "measurements: none; channel, topic, socket_id, reason",
    "channel_crashed": "measurements: none; channel, topic, socket_id, error",
    "topic_unmatched": "measurements: none; topic",
    "broadcast": "bytes; topic, event",
}
"""For every event, its measurements; its metadata."""

_handlers: dict[str, list[Handler]] = {}


def attach(event: str, handler: Handler) -> None:
    """Call `handler(event, measurements, metadata)` for each `event`.

    Raises:
        ValueError: for an unknown event.
    """
    if event not in EVENTS:
        raise ValueError(f"no event {event!r}; want one of {', '.join(EVENTS)}")
    _handlers.setdefault(event, []).append(handler)


def detach(event: str, handler: Handler) -> None:
    """Stop calling `handler`. Has no effect if it is not attached."""
    handlers = _handlers.get(event, [])
    if handler in handlers:
        handlers.remove(handler)
    if not handlers:
        _handlers.pop(event, None)


def attached(event: str) -> bool:
    """Return whether a handler is attached; check this before creating the metadata."""
    return event in _handlers


def emit(event: str, measurements: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Call the handlers of an event."""
    for handler in tuple(_handlers.get(event, ())):
        try:
            copy_context().run(handler, event, measurements, metadata)
        except (Exception, SystemExit) as error:
            log.error("telemetry handler failed and is detached", hook=event, exc_info=error)
            detach(event, handler)
