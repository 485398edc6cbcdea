"""Handles each command of a worker for a session's channel. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from mesh.errors import EncodeError
from mesh.gateway.channels.actions import Action, Pause, Resume, Send
from mesh.gateway.channels.answers import INVALID_REPLY
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import Event, Phase
from mesh.gateway.channels.recovery import Recovery
from mesh.gateway.channels.recovery_commands import history_state, missed
from mesh.gateway.channels.session import Session
from mesh.gateway.channels.worker_payloads import UNSENDABLE, check_message, check_payload, unsendable
from mesh.link import commands
from mesh.protocol.messages import JSON


def joined(session: Session, channel: GatewayChannel, joined: commands.Joined) -> list[Action]:
    """Answer the join, which was accepted; of a channel that has moved, only note what it intercepts."""
    if channel.pending is not None:
        channel.intercepts = frozenset(joined.intercepts)
    if channel.phase is not Phase.JOINING:
        return session.advance(channel, Event.ACCEPTED)
    try:
        answer = session.answer(channel, "ok", joined.codec, joined.data)
    except UNSENDABLE as error:
        unsendable(error, channel, "replies_unencodable")
        return session.advance(channel, Event.UNANSWERABLE)
    channel.since = joined.since
    if joined.history:
        channel.recovery = Recovery()
    return answer + session.advance(channel, Event.ACCEPTED)


def refused(session: Session, channel: GatewayChannel, refused: commands.Refused) -> list[Action]:
    """Answer the join, which was refused, or crashed."""
    if channel.pending is not None:
        channel.pending.refused = True
    return session.advance(channel, Event.REFUSED, refused.codec, refused.data)


def moved(session: Session, channel: GatewayChannel, moved: commands.Moved) -> list[Action]:
    """Keep the state of a channel that its worker has handed over, for the next worker."""
    recovery = channel.recovery
    if channel.phase is Phase.HANDING_OVER and recovery is not None and not recovery.complete:
        return session.advance(channel, Event.CRASHED)  # nobody will send what its client has missed
    actions = session.advance(channel, Event.HANDED_OVER)
    if channel.phase is Phase.MOVING and channel.pending is not None:
        channel.pending.moved = moved
        channel.since = 0
    return actions


def replied(session: Session, channel: GatewayChannel, reply: commands.Reply) -> list[Action]:
    """Send the reply to a push or a leave; a payload that cannot be sent becomes an error reply."""
    to, encode = (channel.push_join_ref, reply.ref, channel.topic), session.serializer.encode_reply
    try:
        check_payload(reply.codec, reply.data)
        return [Send(encode(*to, reply.status, reply.codec, reply.data))]
    except UNSENDABLE as error:
        unsendable(error, channel, "replies_unencodable")
    try:
        return [Send(encode(*to, "error", JSON, INVALID_REPLY))]
    except EncodeError:  # the worker made up the ref: no client can have sent one
        return []


def pushed(session: Session, channel: GatewayChannel, push: commands.Pushed) -> list[Action]:
    """Send a push of the channel."""
    try:
        check_message(push.event, push.codec, push.data)
        frame = session.serializer.encode_push(
            channel.push_join_ref, channel.topic, push.event, push.codec, push.data
        )
    except UNSENDABLE as error:
        unsendable(error, channel, "messages_unencodable")
        return []
    return [Send(frame)]


COMMANDS: Mapping[type[Any], Callable[[Session, GatewayChannel, Any], list[Action]]] = {
    commands.Joined: joined,
    commands.Refused: refused,
    commands.Reply: replied,
    commands.Pushed: pushed,
    commands.Closed: lambda session, channel, _: session.advance(channel, Event.CLOSED),
    commands.Crashed: lambda session, channel, _: session.advance(channel, Event.CRASHED),
    commands.Moved: moved,
    commands.Moving: lambda session, channel, _: session.advance(channel, Event.STOPPING),
    commands.PushesPaused: lambda _session, channel, _: [Pause(channel)],
    commands.PushesResumed: lambda _session, channel, _: [Resume(channel)],
    commands.HistoryState: history_state,
    commands.Missed: missed,
}
"""Called with (session, channel, command). Commands that concern no single channel are not listed."""
