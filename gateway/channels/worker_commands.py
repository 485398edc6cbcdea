"""What a session does with each command of a worker, and whom a malformed one concerns."""

from collections.abc import Mapping
from typing import Any

from gateway.channels.actions import Action, Pause, Resume
from gateway.channels.gateway_channel import GatewayChannel
from gateway.channels.session import Session
from gateway.fanout.fanout import Fanout
from mesh.link import commands
from mesh.link.malformed import Malformed


def _refused(session: Session, channel: GatewayChannel, command: commands.Refused) -> list[Action]:
    if channel.joining is not None:
        channel.joining.refused = True
    return session.refused(channel, command.codec, command.data)


COMMANDS: dict[type[Any], Any] = {
    commands.Joined: Session.joined,
    commands.Refused: _refused,
    commands.Reply: Session.replied,
    commands.Pushed: Session.pushed,
    commands.Closed: lambda session, channel, _: session.closed(channel),
    commands.Crashed: lambda session, channel, _: session.crashed(channel),
    commands.Moved: Session.moved,
    commands.Moving: lambda session, channel, _: session.moving(channel),
    commands.Broadcast: None,  # for members of a topic
    commands.Ping: None,
    commands.PushesPaused: lambda _session, channel, _: [Pause(channel)],
    commands.PushesResumed: lambda _session, channel, _: [Resume(channel)],
}
"""Called with (session, channel, command); None: it concerns no single channel."""


def named(
    command: Malformed, worker: str, channels: Mapping[int, GatewayChannel], fanout: Fanout
) -> list[GatewayChannel]:
    """The channels on this worker that a malformed command names, by number or by topic."""
    if command.topic is not None:
        found = fanout.channels(command.topic)
    else:
        found = [channels[number] for number in command.channels if number in channels]
    return [each for each in found if each.worker == worker]
