"""The messages between the replicas of a tracker: msgpack arrays whose first element is the kind.

They are sent over the bus: Gossip and Goodbye on the tracker's own topic, the others to one node. The
sender is the origin in the header of the message.
"""

from typing import Union

import msgspec

from mesh.errors import WireError
from mesh.tracker.state import Delta, Entry

VERSION = 1


class Gossip(msgspec.Struct, array_like=True, tag=0, frozen=True):
    """To all: what this replica did since its last gossip, if anything.

    Attributes:
        version: the version of this layout.
        clock: the sender's clock; a replica that knows less of it requests the rest.
        delta: the operations since its last gossip.
        hello: whether the sender has just started; the others then gossip soon, so that it learns who is
            present.
    """

    version: int
    clock: int
    delta: Delta | None = None
    hello: bool = False


class Request(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """To one: send what you did after `since`."""

    since: int


class Transfer(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """To one: a part of the answer to a Request."""

    delta: Delta


class Goodbye(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """To all: this replica stops, and its entries end."""


TrackerMessage = Union[Gossip, Request, Transfer, Goodbye]

UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""The exceptions of `encode` for values that msgpack cannot represent."""

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TrackerMessage).decode


def flaw(entry: Entry) -> str | None:
    """Return why an entry cannot be sent to other workers; None if it can."""
    try:
        encode(entry)
    except UNENCODABLE as error:
        return str(error)
    return None


def decode(data: bytes) -> TrackerMessage:
    """Decode a message of another replica. Raises WireError for anything else."""
    try:
        message: TrackerMessage = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a tracker message: {error}") from None
    if isinstance(message, Gossip) and message.version != VERSION:
        raise WireError(f"tracker message of version {message.version}; want {VERSION}")
    return message
