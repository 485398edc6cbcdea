"""Handles the join of a channel: calls `join`, answers, and sends what the client has missed."""

import asyncio
from time import perf_counter
from typing import Any, Protocol

from mesh.app.channel import Channel
from mesh.app.history import History
from mesh.application_errors import as_exception
from mesh.errors import ChannelError
from mesh.history.contract import Page
from mesh.link import commands
from mesh.protocol import payloads
from mesh.telemetry import get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel import callbacks, recovery
from mesh.worker.channel.actions import Living
from mesh.worker.channel.callback_results import join_reply
from mesh.worker.channel.lifecycle import OVER, Ending, Event

log = get_logger(__name__)

JOIN_CRASHED = {"reason": "join crashed"}


class Joining(Living, Protocol):
    """What a join needs from the channel's server."""

    @property
    def intercepts(self) -> frozenset[str]:
        """The events whose broadcasts reach the client through handle_out only."""

    def enter(self) -> int:
        """Make the channel a member; return the number of the worker's last broadcast before that."""


async def handle_join(server: Joining, join: commands.Join) -> None:
    """Call `join`, and answer the client."""
    started = perf_counter()
    payload, page, channel, context = None, None, server.channel, server.context
    try:
        payload = payloads.decode(join.codec, join.data)
        request = _history_request(server, payload)
        if isinstance(request, ChannelError):
            await _refuse(server, *payloads.encode({"reason": str(request)}), "shutdown")
            return
        result = channel.join(join.topic, payload)
        if result is not None and hasattr(result, "__await__"):
            seconds = server.worker.settings.join_timeout_seconds
            result = await callbacks.joined_in_time(channel, result, seconds)
        if server.life.phase in OVER:  # killed, but it did not end
            return
        reply = join_reply(channel, result)
        codec, data = context.encode_reply(reply.status, reply.payload)
    except asyncio.CancelledError:
        raise
    except BaseException as raised:
        error = as_exception(raised, "callback")
        if server.life.phase in OVER:  # killed in the meantime
            return
        log.error("join crashed", topic=join.topic, socket_id=channel.socket.id, exc_info=error)
        channel_telemetry.joined(channel, started, payload, "error")
        await _refuse(server, *payloads.encode(JOIN_CRASHED), error)
        return
    channel_telemetry.joined(channel, started, payload, reply.status)
    if reply.status != "ok":
        await _refuse(server, codec, data, "shutdown")
        return
    if request is not None and recovery.precedes_reply(request):
        page = await _read_history(server, request)
        if server.life.phase in OVER:
            return
    _accept(server, codec, data, request is not None)
    if request is not None:
        page = page if page is not None else await _read_history(server, request)
        if server.life.phase in OVER:
            return
        recovery.recover(server, request, page, _history(server), server.worker.settings.max_recovery_bytes)
    if type(channel).after_join is not Channel.after_join:
        result = channel.after_join(payload)
        if result is not None and hasattr(result, "__await__"):
            await result


def _history_request(server: Joining, payload: Any) -> recovery.Request | ChannelError | None:
    """Return what the client asks for; None if it does not ask, or the topic has no history."""
    worker = server.worker
    if worker.kept.find(server.context.topic) is None or not worker.recovers(server.context.link):
        return None
    try:
        return recovery.request_of(payload)
    except ChannelError as error:
        return error


async def _read_history(server: Joining, request: recovery.Request) -> Page:
    query = recovery.query_of(request, server.context.topic, _history(server))
    return await server.worker.recorder.read(query)


def _history(server: Joining) -> History:
    route = server.worker.kept.find(server.context.topic)
    assert route is not None, server.context.topic
    return route.history


def _accept(server: Joining, codec: int, data: bytes, history: bool) -> None:
    server.change(Event.ACCEPTED)
    since = server.enter()
    context = server.context
    context.send_command(
        commands.Joined(context.number, tuple(server.intercepts), since, codec, data, history)
    )


async def _refuse(server: Joining, codec: int, data: bytes, reason: Any) -> None:
    server.context.send_command(commands.Refused(server.context.number, codec, data))
    await server.end(Event.REFUSED, Ending(reason))
