"""The events of a client, which its session turns into actions."""

from typing import Any, NamedTuple

from mesh.client.channel_state import ChannelState, PushState


class Start(NamedTuple):
    """Connect, and stay connected."""


class Opened(NamedTuple):
    """The connection that Connect asked for is open."""


class Closed(NamedTuple):
    """The connection ended, or could not be opened."""

    reason: str


class Received(NamedTuple):
    """A message has arrived."""

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    payload: Any


class Join(NamedTuple):
    """Join a channel that is closed."""

    channel: ChannelState


class Leave(NamedTuple):
    """Leave a channel."""

    channel: ChannelState


class Push(NamedTuple):
    """Send a push, now or as soon as its channel is joined."""

    push: PushState


class Forget(NamedTuple):
    """No caller waits for this push any longer; if it is unsent, it is not sent."""

    push: PushState


class Stop(NamedTuple):
    """Close the connection and all channels permanently."""


class Tick(NamedTuple):
    """Time has passed."""


Event = Start | Opened | Closed | Received | Join | Leave | Push | Forget | Stop | Tick
