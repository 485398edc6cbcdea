"""Hooks: call a function whenever something happens: Phoenix's telemetry events, and those it lacks.

    from mesh import telemetry

    def slow(event, measurements, metadata):
        if measurements["duration"] > 0.1:
            print(metadata["topic"], metadata["event"])

    telemetry.attach("channel_handled_in", slow)

Handlers run where it happens, in the event loop of a gateway or a worker: they must be quick. One that
raises is logged and detached. A handler sees the context variables of what it is called for, e.g. of the
channel that crashed; those that it sets itself end with the call.
"""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any

from mesh.telemetry.logs import get_logger

log = get_logger("mesh.telemetry")

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
"""Every event: its measurements; its metadata."""

_handlers: dict[str, list[Handler]] = {}


def attach(event: str, handler: Handler) -> None:
    """Call `handler(event, measurements, metadata)` for each `event`.

    Raises:
        ValueError: for an event that there is not.
    """
    if event not in EVENTS:
        raise ValueError(f"no event {event!r}; there are {', '.join(EVENTS)}")
    _handlers.setdefault(event, []).append(handler)


def detach(event: str, handler: Handler) -> None:
    """Call it no more; nothing happens if it was not attached."""
    handlers = _handlers.get(event, [])
    if handler in handlers:
        handlers.remove(handler)
    if not handlers:
        _handlers.pop(event, None)


def attached(event: str) -> bool:
    """Whether anybody wants to know: before the metadata is made."""
    return event in _handlers


def emit(event: str, measurements: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Something has happened."""
    for handler in tuple(_handlers.get(event, ())):
        try:
            copy_context().run(handler, event, measurements, metadata)
        except Exception as error:
            log.error("telemetry handler failed and is detached", hook=event, exc_info=error)
            detach(event, handler)
