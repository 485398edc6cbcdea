"""Calls the application: one function for each type of message.

The server (server.py) awaits them one after the other. An exception in a callback ends the channel, and so
does an invalid return value. The server handles joins itself, because their result changes the channel's
phase. Source: Phoenix.Channel.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from time import perf_counter
from typing import Any, Protocol

from mesh.app.channel import Channel
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.protocol import payloads
from mesh.protocol.messages import Broadcast
from mesh.telemetry import get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel.callback_results import push_reply
from mesh.worker.channel.context import NO_PUSH, WorkerContext
from mesh.worker.channel.mailbox import InfoMessage, InterceptedBroadcast, SetAside, SubscribedBroadcast

log = get_logger(__name__)


class Served(Protocol):
    """What the callbacks need from their server."""

    @property
    def channel(self) -> Channel:
        """The application's object."""

    @property
    def context(self) -> WorkerContext:
        """What the channel can do."""


async def handle_push(server: Served, push: commands.Push) -> None:
    """Handle a push from the client: call the handler of its event, or `handle_in`."""
    started = perf_counter()
    context, channel = server.context, server.channel
    context.push_ref = push.ref
    payload = payloads.decode(push.codec, push.data)
    event = push.event
    name = channel.handlers.get(event) if isinstance(event, str) else None
    if name is not None:
        result = getattr(channel, name)(payload)
    else:
        result = channel.handle_in(event, payload)
    if result is not None:
        if hasattr(result, "__await__"):
            result = await result
        if result is not None:
            reply = push_reply(channel, event, result)
            context.answer(push.ref, reply.status, reply.payload)
    context.push_ref = NO_PUSH
    channel_telemetry.handled(channel, started, event, payload)


async def handle_intercepted(server: Served, broadcast: InterceptedBroadcast) -> None:
    """Handle a broadcast on the channel's topic that it intercepts: call `handle_out`."""
    payload = payloads.decode(broadcast.codec, broadcast.data)
    result = server.channel.handle_out(broadcast.event, payload)
    if result is not None and hasattr(result, "__await__"):
        result = await result
    expect_none(server.channel, "handle_out", result)


def handle_subscribed(server: Served, broadcast: SubscribedBroadcast) -> Coroutine[Any, Any, None]:
    """Handle a broadcast on a topic that the channel subscribed to: call `handle_info`.

    Returns the coroutine of `handle_info` below for the server to await, which avoids another coroutine.
    """
    payload = payloads.decode(broadcast.codec, broadcast.data)
    return handle_info(server, InfoMessage(Broadcast(broadcast.topic, broadcast.event, payload)))


async def handle_info(server: Served, info: InfoMessage) -> None:
    """Handle a message that the channel sent to itself: call `handle_info`."""
    channel = server.channel
    if type(channel).handle_info is Channel.handle_info:
        log.warning(
            "message ignored: the channel has no handle_info",
            channel=type(channel).__name__,
            topic=channel.topic,
            message=repr(info.message)[:200],
        )
        return
    result = channel.handle_info(info.message)
    if result is not None and hasattr(result, "__await__"):
        result = await result
    expect_none(channel, "handle_info", result)


async def handle_set_aside(_server: Served, _mail: SetAside) -> None:
    """Handle a push that still waits: it has arrived, so the server ends the period of silence."""


async def joined_in_time(channel: Channel, joining: Awaitable[Any], seconds: float | None) -> Any:
    """Await the result of `join`, within its time limit. Raises ChannelError if that is exceeded."""
    if seconds is None:
        return await joining
    try:
        async with asyncio.timeout(seconds) as limit:
            result = await joining
    except TimeoutError:
        if not limit.expired():
            raise
    if limit.expired():
        raise ChannelError(
            f"{type(channel).__name__}.join took over {seconds:g} s (worker.join_timeout_seconds)"
        )
    return result


def expect_none(channel: Channel, callback: str, result: Any) -> None:
    """Raise ChannelError if a callback without a reply returned something."""
    if result is not None:
        raise ChannelError(
            f"{type(channel).__name__}.{callback} returned {result!r}; expected None:"
            " there is no push to reply to"
        )
