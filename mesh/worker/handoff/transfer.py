"""Sends the state of one channel to another worker, or continues a channel from it (docs/protocol.md §3.2).

On the old worker, the channel's server calls `hand_over` once the gateway sends no more and the mailbox is
empty; on the new worker it calls `restore` instead of `join`.
"""

import asyncio
from typing import Any, Protocol

from mesh.link import commands
from mesh.protocol import payloads
from mesh.telemetry import counters, get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel.actions import Living
from mesh.worker.channel.callbacks import expect_none
from mesh.worker.channel.lifecycle import OVER, Ending, Event, Phase
from mesh.worker.channel.mailbox import InfoMessage, SubscribedBroadcast
from mesh.worker.handoff.state import HandoffState, pack, pack_assigns, unpack

log = get_logger(__name__)


class Transferred(Living, Protocol):
    """What moving a channel needs from its server."""

    @property
    def mount(self) -> str:
        """The mount of the client's socket."""

    def enter(self) -> int:
        """Make the channel a member; return the number of the worker's last broadcast before that."""


async def restore(server: Transferred, join: commands.Join) -> None:
    """Continue a channel that another worker ran. An exception crashes it."""
    state = unpack(join.data)
    worker, context, channel = server.worker, server.context, server.channel
    since = server.enter()
    for broadcast in worker.members.missed(server, state.seen):
        server.mailbox.post_sized(broadcast)
    await asyncio.gather(*map(context.subscribe, state.subscriptions))
    worker.presences.move_in(context, state.tracked)
    result = channel.restore(state.snapshot)
    if result is not None and hasattr(result, "__await__"):
        result = await result
    expect_none(channel, "restore", result)
    if server.life.phase in OVER:  # killed, but it did not end
        return
    counters.count("channels_restored")
    server.change(Event.RESTORED)
    context.send_command(
        commands.Joined(context.number, tuple(server.intercepts), since, 0, payloads.EMPTY)
    )


async def hand_over(server: Transferred) -> None:
    """Take the channel's snapshot and send it. An exception crashes the channel."""
    seen = server.worker.members.seen(server)
    snapshot = server.channel.snapshot()
    if snapshot is not None and hasattr(snapshot, "__await__"):
        snapshot = await snapshot
    if server.life.phase is not Phase.SNAPSHOTTING or server.context.stop_reason is not None:
        return  # its client is gone, or it is about to stop: it ends here
    if snapshot is None:
        await server.end(Event.STOPPED, Ending("shutdown", commands.Crashed))
        return
    _move_out(server, snapshot, seen)


def _move_out(server: Transferred, snapshot: Any, seen: dict[str, int]) -> None:
    worker, context, channel = server.worker, server.context, server.channel
    name, tracked = type(channel).__name__, worker.presences.tracked(context)
    state = HandoffState(snapshot, tuple(context.subscriptions or ()), tracked, seen)
    data = pack(name, state, worker.settings.max_snapshot_bytes)
    assigns = pack_assigns(name, channel.assigns, worker.assigns_of(server.mount, context.topic))
    _count_dropped(server)
    worker.presences.flush(context.topic)
    context.send_command(commands.Moved(context.number, context.after(), assigns, data))
    worker.move_out(server)
    channel_telemetry.moved(channel)
    server.change(Event.MOVED_OUT)


def _count_dropped(server: Transferred) -> None:
    """Count messages that arrived during an async snapshot, and are dropped.

    Intercepted broadcasts reach the channel on its next worker; other messages are lost.
    """
    lost = server.mailbox.count(InfoMessage, SubscribedBroadcast)
    if lost:
        counters.count("messages_not_moved", lost)
        topic = server.context.topic
        log.warning("messages to a channel that moves are dropped", topic=topic, messages=lost)
