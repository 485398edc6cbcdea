"""What a client's session decides: carried out by `mesh.client.driver`, in order."""

from typing import Any, Literal, NamedTuple

from mesh.client.channel_state import ChannelState, PushState, State

Why = Literal["timeout", "lost", "closed", "full"]


class Connect(NamedTuple):
    """Open a connection, instead of any before."""


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
    """Send a channel's join, with its parameters as they are now."""

    channel: ChannelState
    ref: str


class Deliver(NamedTuple):
    """A push or broadcast for the application."""

    channel: ChannelState
    event: str
    payload: Any


class Replied(NamedTuple):
    """The reply to a push."""

    push: PushState
    status: str
    response: Any


class Failed(NamedTuple):
    """A push gets no reply."""

    push: PushState
    why: Why


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
    """A channel's state is another."""

    channel: ChannelState
    state: State
    reason: str


Action = (
    Connect | Disconnect | Send | SendJoin | Deliver | Replied | Failed | Joined | Refused | JoinTimedOut
    | Changed
)  # fmt: skip
