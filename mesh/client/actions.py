"""The actions that a client's session returns; `mesh.client.driver` carries them out, in order."""

from typing import Any, Literal, NamedTuple

from mesh.client.channel_state import ChannelState, PushState, State

FailureReason = Literal["timeout", "lost", "closed", "full"]


class Connect(NamedTuple):
    """Open a connection, which replaces any earlier one."""


class Disconnect(NamedTuple):
    """Close the connection."""

    code: int
    reason: str


class Send(NamedTuple):
    """Send a message."""

    join_ref: str | None
    ref: str
    topic: str
    event: str
    payload: Any


class SendJoin(NamedTuple):
    """Send a channel's join, with its current parameters."""

    channel: ChannelState
    ref: str


class Deliver(NamedTuple):
    """Deliver a push or broadcast to the application."""

    channel: ChannelState
    event: str
    payload: Any
    ref: Any = None


class Replied(NamedTuple):
    """A push got its reply."""

    push: PushState
    status: str
    response: Any


class Failed(NamedTuple):
    """A push will get no reply."""

    push: PushState
    reason: FailureReason


class Joined(NamedTuple):
    """A join, the first or a later one, succeeded."""

    channel: ChannelState
    response: Any


class Refused(NamedTuple):
    """A join was refused; if it was the first, the channel is closed."""

    channel: ChannelState
    response: Any


class JoinTimedOut(NamedTuple):
    """A join was not answered in time; if it was the first, the channel is closed."""

    channel: ChannelState


class Changed(NamedTuple):
    """A channel's state has changed."""

    channel: ChannelState
    state: State
    reason: str


Action = (
    Connect | Disconnect | Send | SendJoin | Deliver | Replied | Failed | Joined | Refused | JoinTimedOut
    | Changed
)  # fmt: skip
