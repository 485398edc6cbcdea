"""Reports the events of channels: metrics, log lines at the levels of their class, and hooks."""

from time import perf_counter
from typing import Any

from mesh import telemetry
from mesh.app.channel import Channel
from mesh.protocol.messages import HEARTBEAT_TOPIC
from mesh.telemetry import counters, get_logger, stats

log = get_logger(__name__)


def joined(channel: Channel, started: float, params: Any, status: str) -> None:
    """Report that a join was answered with `status`.

    Args:
        channel: the channel.
        started: when the join was taken from the mailbox, by perf_counter.
        params: the parameters of the join.
        status: the status of the reply.
    """
    duration = perf_counter() - started
    stats.join_seconds.observe(duration)
    if status == "ok":
        stats.joins_ok += 1
    else:
        stats.joins_refused += 1
    if _is_logged(channel, channel.log_join):
        line = "joined" if status == "ok" else "join refused"
        _log(channel, channel.log_join, line, duration, params)
    if telemetry.attached("channel_joined"):
        metadata = {**_metadata(channel), "result": status}
        telemetry.emit("channel_joined", {"duration": duration}, metadata)


def handled(channel: Channel, started: float, event: Any, params: Any) -> None:
    """Report that a push was handled; its handler began at `started`, by perf_counter."""
    duration = perf_counter() - started
    stats.pushes += 1
    stats.handle_in_seconds.observe(duration)
    if _is_logged(channel, channel.log_handle_in):
        _log(channel, channel.log_handle_in, "handled", duration, params, push=event)
    if telemetry.attached("channel_handled_in"):
        metadata = {**_metadata(channel), "event": event}
        telemetry.emit("channel_handled_in", {"duration": duration}, metadata)


def crashed(channel: Channel, error: Exception) -> None:
    """Report that a callback raised."""
    counters.count("channels_crashed")
    log.error("channel crashed", **_metadata(channel), exc_info=error)
    if telemetry.attached("channel_crashed"):
        telemetry.emit("channel_crashed", {}, {**_metadata(channel), "error": error})


def moved(channel: Channel) -> None:
    """Report that the channel continues on another worker; `terminate` does not run here."""
    counters.count("channels_moved")
    ended(channel, "moved")


def ended(channel: Channel, reason: Any) -> None:
    """Report that the channel ends here. Unless it moved, `terminate` is about to run."""
    if telemetry.attached("channel_ended"):
        telemetry.emit("channel_ended", {}, {**_metadata(channel), "reason": reason})


def _is_logged(channel: Channel, level: str | None) -> bool:
    """Return whether a line is logged. As in Phoenix, topics that begin with `phoenix` are not logged."""
    if level is None or not telemetry.enabled(level):
        return False
    return not channel.topic.startswith(HEARTBEAT_TOPIC)


def _log(channel: Channel, level: str | None, line: str, duration: float, params: Any, **more: Any) -> None:
    if log.suppress(level or "debug", line):
        return
    getattr(log, level or "debug")(
        line,
        **_metadata(channel),
        **more,
        milliseconds=telemetry.milliseconds(duration),
        params=telemetry.filtered(params),
    )


def _metadata(channel: Channel) -> dict[str, Any]:
    return {"channel": type(channel).__name__, "topic": channel.topic, "socket_id": channel.socket.id}
