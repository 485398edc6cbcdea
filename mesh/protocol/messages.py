"""The messages between a client and its channels: Message, Reply, Broadcast, and their payloads.

A payload in transit is encoded: `Payload(codec, data)`. A gateway passes these bytes on unchanged. It
decodes payloads only to check those that a worker or a program on the bus has sent.

Source: Phoenix.Socket.Message, Reply, Broadcast.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from mesh.errors import ChannelError

JOIN = "phx_join"
LEAVE = "phx_leave"
REPLY = "phx_reply"
CLOSE = "phx_close"
ERROR = "phx_error"
HEARTBEAT = "heartbeat"
HEARTBEAT_TOPIC = "phoenix"
CONTROL = frozenset((JOIN, LEAVE, REPLY, CLOSE, ERROR))
"""The events of the protocol itself, about a channel as such: they cannot be pushed or broadcast."""
DISCONNECT = "disconnect"
"""The event that closes every socket whose id is the topic of the broadcast."""


MAX_EVENT_BYTES = 4_096
"""As for topics. V2's binary frames carry at most 255 bytes of either (serializers/binary.py)."""
MAX_REF_BYTES = 255
"""As in V2's binary frames. The join_ref of a channel is kept as long as the channel exists."""


def check_name(name: object, what: str) -> str:
    """Return `name`, an event or a status, if it can be sent.

    Raises:
        ChannelError: if it is not a string, not valid UTF-8, or an event of more than 4,096 bytes.
    """
    if not isinstance(name, str):
        raise ChannelError(f"{what} {name!r:.100} is not a string")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ChannelError(f"{what} {name[:64]!r} has a lone surrogate and cannot be UTF-8") from None
    if size > MAX_EVENT_BYTES and what == "event":
        raise ChannelError(f"event {name[:32]!r}… is {size} bytes long; at most {MAX_EVENT_BYTES}")
    return name


def check_event(name: object) -> str:
    """Return `name` if it can be pushed and broadcast.

    Raises:
        ChannelError: as `check_name`, and for an event of the protocol itself.
    """
    event = check_name(name, "event")
    if event in CONTROL:
        raise ChannelError(
            f"event {event!r} is reserved by the protocol: a client would mistake it for a reply or for"
            " the end of its channel; use another name"
        )
    return event


class Codec(IntEnum):
    """The encoding of a payload's bytes; the numbers are part of the wire formats."""

    JSON = 0
    BINARY = 1
    MSGPACK = 2


# Plain ints for the hot path: comparing with an IntEnum member costs an attribute look-up.
JSON = int(Codec.JSON)
BINARY = int(Codec.BINARY)
MSGPACK = int(Codec.MSGPACK)


class Message(msgspec.Struct, frozen=True):
    """A message from a client.

    Attributes:
        join_ref: as the client sent it (string, integer, null, or any JSON value).
        ref: as the client sent it; the reply repeats it unchanged.
        topic: any JSON value; what is not a string matches no channel.
        event: any JSON value; what is not a string is handled by no channel.
        codec: the codec of `data`.
        data: the payload's bytes, not decoded.
    """

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    codec: int
    data: bytes


class Broadcast(msgspec.Struct, frozen=True):
    """A broadcast, as `handle_info` receives it on a topic that the channel subscribed to."""

    topic: str
    event: str
    payload: Any


class Sender(NamedTuple):
    """The channel that made a broadcast, as its own gateway needs to know it.

    Attributes:
        gateway: the id of the gateway that the channel's client is connected to.
        channel: the number that this gateway gave the channel.
        skip: whether the channel must not receive the broadcast itself (broadcast_from).
        behind: the number of commands that the worker had sent on the link when it last sent one for this
            channel; the channel's client must receive those before the broadcast.
    """

    gateway: str
    channel: int
    skip: bool = False
    behind: int = 0
