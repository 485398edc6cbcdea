"""What the replicas of a tracker tell each other, as msgpack arrays whose first element is a number.

They travel on the bus: Gossip on the tracker's own topic, the others to one node. The sender is the
origin in the message's header.
"""

from typing import Union

import msgspec

from mesh.errors import WireError
from mesh.tracker.state import Delta, Entry

VERSION = 1


class Gossip(msgspec.Struct, array_like=True, tag=0, frozen=True):
    """To all: what is new, or that nothing is.

    Attributes:
        version: of this layout.
        clock: the sender's; who knows less asks for the rest.
        delta: what it did since its last gossip.
        hello: whether the sender has just started; the others then gossip soon and tell it who is present.
    """

    version: int
    clock: int
    delta: Delta | None = None
    hello: bool = False


class Request(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """To one: what did you do after `since`?"""

    since: int


class Transfer(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """To one: a part of the answer to a Request."""

    delta: Delta


class Goodbye(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """To all: I stop; what I said is over."""


TrackerMessage = Union[Gossip, Request, Transfer, Goodbye]

UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""What `encode` raises for values that msgpack does not have."""

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TrackerMessage).decode


def flaw(entry: Entry) -> str | None:
    """Why other workers cannot be told an entry; None if they can."""
    try:
        encode(entry)
    except UNENCODABLE as error:
        return str(error)
    return None


def decode(data: bytes) -> TrackerMessage:
    """Read a message of another replica. Raises WireError for anything else."""
    try:
        message: TrackerMessage = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a tracker message: {error}") from None
    if isinstance(message, Gossip) and message.version != VERSION:
        raise WireError(f"tracker message of version {message.version}; want {VERSION}")
    return message
