"""What a session decides and the hub carries out."""

from typing import NamedTuple

from gateway.channel_state import ChannelState
from mesh.link import commands
from mesh.serializers.base import Frame


class Send(NamedTuple):
    """Send a frame to the client."""

    frame: Frame


class Start(NamedTuple):
    """Subscribe to the channel's topic; once that is in force, send its JOIN to a worker."""

    channel: ChannelState


class Forward(NamedTuple):
    """Send a command to the channel's worker."""

    channel: ChannelState
    command: commands.ToWorker


class Activate(NamedTuple):
    """The channel is joined: deliver the broadcasts held for it, and those to come."""

    channel: ChannelState


class Drop(NamedTuple):
    """The channel is over."""

    channel: ChannelState


class Close(NamedTuple):
    """Close the connection."""

    code: int
    reason: str


class Pause(NamedTuple):
    """Read no more from the client until Resume."""


class Resume(NamedTuple):
    """Read again."""


Action = Send | Start | Forward | Activate | Drop | Close | Pause | Resume
