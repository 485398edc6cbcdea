"""What waits in a channel's mailbox beside the link's own commands."""

from typing import Any, NamedTuple


class InterceptedBroadcast(NamedTuple):
    """Mail: a broadcast that this channel intercepts."""

    event: str
    codec: int
    data: bytes


class SubscribedBroadcast(NamedTuple):
    """Mail: a broadcast on a topic that this channel subscribed to, for `handle_info`."""

    topic: str
    event: str
    codec: int
    data: bytes


class InfoMessage(NamedTuple):
    """Mail for `handle_info`."""

    message: Any


class ClientGone(NamedTuple):
    """Mail: the client is gone."""

    reason: str


class StopRequested(NamedTuple):
    """Mail: `stop` was called while no callback ran."""

    reason: str
