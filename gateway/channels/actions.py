"""What a session decides and the hub carries out."""

from typing import NamedTuple

from gateway.channels.gateway_channel import GatewayChannel
from mesh.link import commands
from mesh.serializers.base import Frame


class Send(NamedTuple):
    """Send a frame to the client."""

    frame: Frame


class SubscribeThenJoin(NamedTuple):
    """Subscribe to the channel's topic; once that is in force, send its JOIN to a worker."""

    channel: GatewayChannel


class PlaceOnWorker(NamedTuple):
    """Send what the channel takes along to another worker."""

    channel: GatewayChannel


class MarkDraining(NamedTuple):
    """A worker stops: no more channels go there."""

    worker: str


class Forward(NamedTuple):
    """Send a command to the channel's worker."""

    channel: GatewayChannel
    command: commands.ToWorker


class Deliver(NamedTuple):
    """The channel is joined: deliver the broadcasts held for it, and those to come."""

    channel: GatewayChannel


class Drop(NamedTuple):
    """The channel is over."""

    channel: GatewayChannel


class Close(NamedTuple):
    """Close the connection."""

    code: int
    reason: str


class Pause(NamedTuple):
    """Read no more from the client until Resume.

    Attributes:
        channel: whose worker asks for that; None: too much waits for pending joins.
    """

    channel: GatewayChannel | None = None


class Resume(NamedTuple):
    """Read again, as far as the Pause with the same `channel` goes."""

    channel: GatewayChannel | None = None


Action = (
    Send
    | SubscribeThenJoin
    | PlaceOnWorker
    | MarkDraining
    | Forward
    | Deliver
    | Drop
    | Close
    | Pause
    | Resume
)
