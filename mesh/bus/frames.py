"""The three frames of a bus message: topic and NUL, msgpack header, payload.

The header is the array `[version, kind, origin, sequence, event, codec, sender]`; `sender` is nil or
`[gateway, channel, skip, behind]`, the channel that made the broadcast. The payload is in the third frame,
already encoded, so that a gateway forwards it without decoding it.
"""

import msgspec

from mesh import topics
from mesh.errors import WireError
from mesh.messages import Sender
from mesh.versions import Versions

VERSION = 1
"""The version of this layout, the only one so far. Announcements will always have it, so that any node can
read them."""
READ = Versions(1, 1)
"""Versions of headers that this node reads."""

BROADCAST = 1
ANNOUNCEMENT = 2
PROBE = 3
TRACKER = 4
"""Who is where: between the replicas of a Tracker (mesh/tracker/messages.py); `event` is its name."""
CALL = 5
"""A question to one node (mesh/bus/calls.py); `event` is the question's name."""
ANSWER = 6
"""The answer to a CALL."""
DIRECT = 7
"""A broadcast for one node only; its payload is preceded by its topic (`encode_direct`)."""
ONCE = 8
"""An Idempotency-Key that a gateway has used, for the others; `event` is the key's digest."""

MOVE = 9
"""From here on some topics of this origin come through another proxy (mesh/bus/zeromq/failover.py)."""

KEPT = frozenset({BROADCAST, DIRECT, ONCE, CALL, ANSWER})
"""Kinds of messages that must not be lost; the others are repeated anyway."""
CRASHED_JOINS = 10
"""Joins of a topic have ended workers: gateways leave it alone (mesh/bus/crashed_joins.py)."""


class Header(msgspec.Struct, array_like=True, frozen=True):
    """The second frame.

    Attributes:
        version: of this layout; others are not read.
        kind: BROADCAST, ANNOUNCEMENT, PROBE, TRACKER, CALL, ANSWER, DIRECT, ONCE, MOVE or
            CRASHED_JOINS; others are ignored.
        origin: id of the node that published it.
        sequence: the origin's number of the message, rising by one with each it publishes.
        event: the broadcast's event.
        codec: of the payload.
        sender: the channel that made it, if one did.
    """

    version: int
    kind: int
    origin: str
    sequence: int
    event: str
    codec: int
    sender: Sender | None = None


class Received(Header, array_like=True, frozen=True):
    """A header that has come.

    Attributes:
        age: milliseconds since it was first published, if it is sent again; else None.
    """

    age: int | None = None


encode_header = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Received).decode


def decode_header(frame: bytes) -> Received:
    """Read a second frame.

    Raises:
        WireError: if it is not a header, or of another version.
    """
    try:
        header = _decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a bus header: {error}") from None
    if not READ.oldest <= header.version <= READ.newest:
        raise WireError(f"bus header of version {header.version}; this node reads {READ}")
    return header


def encode_again(frame: bytes, age: int) -> bytes:
    """The second frame of a message that is sent again, from the first one's."""
    header = _decode(frame)
    return encode_header(msgspec.structs.replace(header, age=age))


def encode_direct(topic: str, data: bytes) -> bytes:
    """The third frame of a DIRECT: the first names the node, so the topic stands before the payload."""
    return topics.exact(topic) + data


def decode_direct(frame: bytes) -> tuple[str, bytes]:
    """(topic, payload) of a DIRECT's third frame.

    Raises:
        WireError: if it names no topic.
    """
    topic, end, data = frame.partition(topics.TERMINATOR)
    if not end:
        raise WireError("direct broadcast without a topic")
    return topics.of_frame(topic + end), data
