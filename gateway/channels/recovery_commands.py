"""Handles the commands of a worker that send a client what it has missed. Pure.

A command that a worker must not send ends its channel, here and at the worker (docs/protocol.md §3.4). A
missed broadcast with a malformed payload is dropped, like a broadcast from the bus.
"""

from mesh.gateway.channels.actions import Action, Deliver, Forward, Send
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import Event, Phase
from mesh.gateway.channels.session import Session
from mesh.gateway.channels.worker_payloads import UNSENDABLE, check_message, unsendable
from mesh.link import commands
from mesh.protocol import positions
from mesh.protocol.messages import JSON


def history_state(session: Session, channel: GatewayChannel, state: commands.HistoryState) -> list[Action]:
    """Send the position from which on the client receives broadcasts."""
    recovery = channel.recovery
    if channel.phase is Phase.REPLACED:
        return []
    if recovery is None or not recovery.begin(state):
        return _end(session, channel)
    if recovery.fresh:
        return [Deliver(channel)]  # gateway/fanout/fresh_position.py sends the position before
    payload = positions.encode_state(state.epoch, state.offset, state.recovered, state.count)
    actions: list[Action] = [
        Send(
            session.serializer.encode_push(
                channel.push_join_ref, channel.topic, positions.HISTORY_STATE, JSON, payload
            )
        )
    ]
    if recovery.complete:
        actions.append(Deliver(channel))
    return actions


def missed(session: Session, channel: GatewayChannel, missed: commands.Missed) -> list[Action]:
    """Send broadcasts that the client has missed, and after the last of them those that were held."""
    recovery = channel.recovery
    if channel.phase is Phase.REPLACED:
        return []
    if recovery is None:
        return _end(session, channel)
    actions: list[Action] = []
    for broadcast in missed.broadcasts:
        if not recovery.take(broadcast.offset):
            return actions + _end(session, channel)
        if broadcast.event not in channel.intercepts:
            actions += _send(session, channel, recovery.epoch, broadcast)
    if recovery.complete and missed.broadcasts:
        actions.append(Deliver(channel))
    return actions


def _send(
    session: Session, channel: GatewayChannel, epoch: str, broadcast: commands.MissedBroadcast
) -> list[Action]:
    offset, event, codec, data = broadcast
    try:
        check_message(event, codec, data)
        frames = positions.encode_broadcast(
            session.serializer, channel.topic, event, codec, data, epoch, offset
        )
    except UNSENDABLE as error:
        unsendable(error, channel, "broadcasts_unencodable")
        return []
    return [Send(frame) for frame in frames]


def _end(session: Session, channel: GatewayChannel) -> list[Action]:
    down = commands.SocketDown([channel.number], "history out of order")
    return [Forward(channel, down), *session.advance(channel, Event.CRASHED)]
