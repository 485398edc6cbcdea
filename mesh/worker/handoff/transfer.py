"""How one channel leaves a worker as bytes, and goes on from them at another one (docs/protocol.md §3.2).

Its server calls `hand_over` once the gateway sends no more and the mailbox is empty, and `restore` instead
of `join` on the worker that takes it over.
"""

import asyncio
from typing import Any, Protocol

from mesh import payloads
from mesh.link import commands
from mesh.telemetry import counters, get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel.actions import Living
from mesh.worker.channel.callbacks import expect_none
from mesh.worker.channel.lifecycle import Ending, Event, Phase
from mesh.worker.channel.mailbox import InfoMessage, SubscribedBroadcast
from mesh.worker.handoff.state import HandoffState, pack, pack_assigns, unpack

log = get_logger("mesh.channel")


class Transferred(Living, Protocol):
    """What moving a channel needs of its server."""

    @property
    def mount(self) -> str:
        """Of the client's socket."""

    def enter(self) -> int:
        """Make the channel a member; returns the number of the worker's last broadcast before that."""


async def restore(server: Transferred, join: commands.Join) -> None:
    """Go on with a channel that another worker ran. What this raises crashes it."""
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
    if server.life.phase not in RESTORING:  # killed, and it would not end
        return
    counters.count("channels_restored")
    server.change(Event.RESTORED)
    context.send_command(
        commands.Joined(context.number, tuple(server.intercepts), since, 0, payloads.EMPTY)
    )


async def hand_over(server: Transferred) -> None:
    """Take the channel's snapshot and send it. What this raises crashes the channel."""
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
    context.send_command(commands.Moved(context.number, context.after(), assigns, data))
    worker.move_out(server)
    channel_telemetry.moved(channel)
    server.change(Event.MOVED_OUT)


def _count_dropped(server: Transferred) -> None:
    """What came while an async snapshot ran is dropped.

    Intercepted broadcasts reach the channel on its next worker; other mail is lost.
    """
    lost = server.mailbox.count(InfoMessage, SubscribedBroadcast)
    if lost:
        counters.count("messages_not_moved", lost)
        topic = server.context.topic
        log.warning("messages to a channel that moves are dropped", topic=topic, messages=lost)


RESTORING = frozenset({Phase.RESTORING, Phase.RESTORING_LEFT})
