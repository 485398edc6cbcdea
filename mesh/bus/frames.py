"""The three frames of a bus message: topic and NUL, msgpack header, payload.

The header is the array `[version, kind, origin, sequence, event, codec, sender]`; `sender` is nil or
`[gateway, channel, skip, behind]`, the channel that made the broadcast. A message that is sent again has
its age behind that, and a recorded broadcast its age or nil and its position. The payload is in a frame of
its own, already encoded: a gateway checks that it is well-formed, and then forwards these bytes to its
clients.
"""

from typing import Annotated, NamedTuple

import msgspec

from mesh.app import topics
from mesh.errors import WireError
from mesh.protocol.messages import Sender
from mesh.protocol.versions import Versions

VERSION = 1
"""The version of this layout, the only one so far. Announcements keep this version for ever, so that every
node can read them."""
READABLE_VERSIONS = Versions(1, 1)
"""The versions of headers that this node reads."""

MAX_ORIGIN_BYTES = 255
"""Receivers remember origins; ours have about 20 bytes."""

MAX_TERM = 2**53
"""The greatest term of a recorder."""

BROADCAST = 1
ANNOUNCEMENT = 2
PROBE = 3
TRACKER = 4
"""Presences, between the replicas of a Tracker (mesh/tracker/messages.py); `event` is its name."""
CALL = 5
"""A request to one node (mesh/bus/calls.py); `event` is the name of the call."""
ANSWER = 6
"""The answer to a CALL."""
DIRECT = 7
"""A broadcast to one node only; its payload is preceded by its topic (`encode_direct`)."""
ONCE = 8
"""An Idempotency-Key that a gateway has accepted, for the other gateways; `event` is the key's digest."""

MOVE = 9
"""From this number on, some topics of the origin use another proxy (mesh/bus/zeromq/failover.py)."""

CRASHED_JOINS = 10
"""A topic whose joins have ended workers and are suspended in all gateways (mesh/bus/crashed_joins.py)."""
RECORDED = 11
"""A broadcast of a topic with a history, with its position; published by the worker that records the topic
(mesh/history/recorder.py). Without an event it is the claim of a worker that begins to record the topic."""

RESENT_KINDS = frozenset({BROADCAST, DIRECT, ONCE, CALL, ANSWER, RECORDED})
"""The kinds of messages that are sent again after a failure; the others need not be."""


class Header(msgspec.Struct, array_like=True, frozen=True):
    """The second frame.

    Attributes:
        version: the version of this layout; messages of other versions are dropped.
        kind: BROADCAST, ANNOUNCEMENT, PROBE, TRACKER, CALL, ANSWER, DIRECT, ONCE, MOVE,
            CRASHED_JOINS or RECORDED; other kinds are ignored.
        origin: the id of the node that published the message.
        sequence: the number of the message, counted by its origin.
        event: the event of the broadcast.
        codec: the codec of the payload.
        sender: the channel that made the broadcast, or None.
    """

    version: int
    kind: int
    origin: str
    sequence: Annotated[int, msgspec.Meta(ge=0)]
    event: str
    codec: int
    sender: Sender | None = None


class Recorded(NamedTuple):
    """The position of a recorded broadcast, and which broadcast it is.

    Attributes:
        epoch: the epoch of the offset.
        offset: its number in the topic; of a claim, the last one that was given before.
        term: the term of the worker that recorded it: the greatest that receivers know counts. It is 0 if
            a store keeps the positions of all workers unique.
        origin: the node that published the original broadcast; empty if it is this message itself.
        sequence: the number of the original broadcast; 0 if it is this message itself.
    """

    epoch: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    term: Annotated[int, msgspec.Meta(ge=0, le=MAX_TERM)]
    origin: str = ""
    sequence: Annotated[int, msgspec.Meta(ge=0)] = 0


class Resent(Header, array_like=True, frozen=True):
    """The header of a message that is sent again.

    Attributes:
        age: milliseconds since the message was first published, if it was sent again; otherwise None.
    """

    age: int | None = None


class Received(Resent, array_like=True, frozen=True):
    """A received header.

    Attributes:
        recorded: the position of a recorded broadcast; otherwise None.
    """

    recorded: Recorded | None = None


def made(
    version: int,
    kind: int,
    origin: str,
    sequence: int,
    event: str,
    codec: int,
    sender: Sender | None,
    recorded: Recorded | None,
) -> Header:
    """Return the header of a new message; `recorded` is the position of a recorded broadcast."""
    if recorded is None:
        return Header(version, kind, origin, sequence, event, codec, sender)
    return Received(version, kind, origin, sequence, event, codec, sender, None, recorded)


encode_header = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Received).decode


def decode_header(frame: bytes) -> Received:
    """Decode a second frame.

    Raises:
        WireError: if it is not a header, of another version, its origin is too long, or a recorded
            broadcast has no position.
    """
    try:
        header = _decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a bus header: {error}") from None
    if not READABLE_VERSIONS.oldest <= header.version <= READABLE_VERSIONS.newest:
        raise WireError(f"bus header of version {header.version}; this node reads {READABLE_VERSIONS}")
    if len(header.origin) > MAX_ORIGIN_BYTES // 4 and len(header.origin.encode()) > MAX_ORIGIN_BYTES:
        raise WireError(f"bus header whose origin is over {MAX_ORIGIN_BYTES} bytes long")
    if header.kind == RECORDED and header.recorded is None:
        raise WireError("recorded broadcast without a position")
    return header


def original(header: Received) -> Received:
    """Return the header of a recorded broadcast with the origin and sequence of the original broadcast."""
    recorded = header.recorded
    if recorded is None or not recorded.origin:
        return header
    return msgspec.structs.replace(header, origin=recorded.origin, sequence=recorded.sequence)


def encode_resent(frame: bytes, age: int) -> bytes:
    """Return the second frame of a message that is sent again, made from its original second frame."""
    header = _decode(frame)
    if header.recorded is not None:
        return encode_header(msgspec.structs.replace(header, age=age))
    version, kind, origin, sequence, event, codec, sender, *_ = msgspec.structs.astuple(header)
    return encode_header(Resent(version, kind, origin, sequence, event, codec, sender, age))


def encode_direct(topic: str, data: bytes) -> bytes:
    """Return the third frame of a DIRECT, topic and payload, because the first frame names the node."""
    return topics.exact(topic) + data


def decode_direct(frame: bytes) -> tuple[str, bytes]:
    """Return (topic, payload) of a DIRECT's third frame.

    Raises:
        WireError: if it contains no topic.
    """
    topic, end, data = frame.partition(topics.TERMINATOR)
    if not end:
        raise WireError("direct broadcast without a topic")
    return topics.of_frame(topic + end), data
