"""The actions that a session decides on, for the hub to carry out."""

from typing import NamedTuple

from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.link import commands
from mesh.protocol.serializers.base import Frame


class Send(NamedTuple):
    """Send a frame to the client."""

    frame: Frame


class SubscribeThenJoin(NamedTuple):
    """Subscribe to the channel's topic; once the subscription is in force, send its JOIN to a worker."""

    channel: GatewayChannel


class PlaceOnWorker(NamedTuple):
    """Find a worker for a channel, and send it the JOIN; of a channel that moves, with its state."""

    channel: GatewayChannel


class MarkDraining(NamedTuple):
    """Place no more channels on a worker, because it is stopping."""

    worker: str


class Forward(NamedTuple):
    """Send a command to the channel's worker."""

    channel: GatewayChannel
    command: commands.ToWorker


class Deliver(NamedTuple):
    """Deliver the broadcasts held for a channel that has been joined, and all later ones."""

    channel: GatewayChannel


class Drop(NamedTuple):
    """Forget a channel that has ended."""

    channel: GatewayChannel


class Close(NamedTuple):
    """Close the connection."""

    code: int
    reason: str


class Pause(NamedTuple):
    """Stop reading from the client until Resume.

    Attributes:
        channel: the channel whose worker asks for it; None if too much waits for pending joins.
    """

    channel: GatewayChannel | None = None


class Resume(NamedTuple):
    """Undo the Pause with the same `channel`; reading resumes when no other Pause is left."""

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
