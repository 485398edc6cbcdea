"""The commands of a link, and batches of them.

One ZeroMQ message is one batch: a msgpack array of commands. A command is an array whose first element is
its type. `channel` is the number that the gateway gave a channel, unique on its link. `after` is the bus
sequence number of the last broadcast by the worker that this client must receive first; the gateway holds
the command until it has handled that broadcast (docs/protocol.md §3). With 0 the command is not held.
"""

from typing import Annotated, Any, NamedTuple, Union

import msgspec

from mesh.protocol.versions import Versions

SPOKEN = Versions(1, 3)
"""The versions of the link protocol that this side speaks."""

MOVES = 2
"""The link version from which on channels can move to another worker."""
HISTORY = 3
"""The link version from which on a join can be followed by what its client has missed."""

ENDED = 0
"""The version in a Welcome by which a worker ends a link; no link can have this version."""

Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A sequence number of the bus, or 0. No node reaches the bound, and a double can represent it."""
Codec = Annotated[int, msgspec.Meta(ge=0, le=2)]
"""A codec of mesh.protocol.messages: JSON, BINARY, MSGPACK."""


class Hello(msgspec.Struct, array_like=True, tag=0, frozen=True):
    """Gateway → worker: the first command on a link.

    Attributes:
        version: the newest version that the gateway speaks.
        gateway: the id of the gateway.
        oldest: the oldest version that it speaks; None: only the newest.
    """

    version: int
    gateway: str
    oldest: int | None = None

    @property
    def versions(self) -> Versions:
        """The versions that the gateway speaks."""
        return Versions(self.version if self.oldest is None else self.oldest, self.version)


class Welcome(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """Worker → gateway: accepts the link, which carries channels from now on, in this version.

    With version ENDED, at any time, the worker has ended the link.
    """

    version: int
    worker: str


class Join(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """Gateway → worker: start a channel. `assigns` is msgpack.

    With `moved` (version 2) the channel is already joined; `assigns` and `data` are those of its Moved.
    """

    channel: int
    mount: str
    topic: str
    join_ref: Any
    socket_id: str | None
    transport: str
    serializer: str
    assigns: bytes
    codec: Codec
    data: bytes
    moved: bool = False


class Push(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """Gateway → worker: an event from the client."""

    channel: int
    ref: Any
    event: Any
    codec: Codec
    data: bytes


class Leave(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """Gateway → worker: the client leaves. Answered by a Reply to `ref`, then Closed."""

    channel: int
    ref: Any


class Replace(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """Gateway → worker: the client joins the topic again. Ends the channel; answered by Closed."""

    channel: int


class SocketDown(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """Gateway → worker: a client is gone, and these channels with it. Not answered."""

    channels: list[int]
    reason: str


class Joined(msgspec.Struct, array_like=True, tag=7, frozen=True):
    """Worker → gateway: the join was accepted.

    `intercepts` are the events that this channel handles in `handle_out`. Broadcasts by this worker up to
    number `since` were made before the join returned and must not be delivered to the channel. With
    `history` (version 3), HistoryState and what the client has missed follow.
    """

    channel: int
    intercepts: tuple[str, ...]
    since: Sequence
    codec: Codec
    data: bytes
    history: bool = False


class Refused(msgspec.Struct, array_like=True, tag=8, frozen=True):
    """Worker → gateway: the join was refused, or `join` crashed."""

    channel: int
    codec: Codec
    data: bytes


class Reply(msgspec.Struct, array_like=True, tag=9, frozen=True):
    """Worker → gateway: the reply to a push or a leave."""

    channel: int
    after: Sequence
    ref: Any
    status: str
    codec: Codec
    data: bytes


class Pushed(msgspec.Struct, array_like=True, tag=10, frozen=True):
    """Worker → gateway: a push to the client."""

    channel: int
    after: Sequence
    event: str
    codec: Codec
    data: bytes


class Closed(msgspec.Struct, array_like=True, tag=11, frozen=True):
    """Worker → gateway: the channel has ended normally."""

    channel: int
    after: Sequence


class Crashed(msgspec.Struct, array_like=True, tag=12, frozen=True):
    """Worker → gateway: the channel has ended by an error."""

    channel: int
    after: Sequence


class Ping(msgspec.Struct, array_like=True, tag=13, frozen=True):
    """Worker → gateway: sending it fails if the gateway is gone. Never answered."""


class Broadcast(msgspec.Struct, array_like=True, tag=14, frozen=True):
    """Worker → gateway: a broadcast to the channels on `topic` that this worker runs, and no others."""

    topic: str
    after: Sequence
    event: str
    codec: Codec
    data: bytes


class Incompatible(msgspec.Struct, array_like=True, tag=15, frozen=True):
    """Worker → gateway: the answer to a Hello without a common version; contains the worker's versions."""

    oldest: int
    newest: int


class Moved(msgspec.Struct, array_like=True, tag=16, frozen=True):
    """Worker → gateway: the channel's state, for another worker; this one no longer runs the channel.

    `assigns` is a msgpack map; only workers read `data` (mesh/worker/handoff/state.py).
    """

    channel: int
    after: Sequence
    assigns: bytes
    data: bytes


class PushesPaused(msgspec.Struct, array_like=True, tag=17, frozen=True):
    """Worker → gateway, version 2: much waits in this channel's mailbox; stop reading from its client."""

    channel: int


class PushesResumed(msgspec.Struct, array_like=True, tag=18, frozen=True):
    """Worker → gateway, version 2: continue reading from the channel's client."""

    channel: int


class TopicPaused(msgspec.Struct, array_like=True, tag=19, frozen=True):
    """Gateway → worker, version 2: a client is behind; do not handle pushes of channels on this topic."""

    topic: str


class TopicResumed(msgspec.Struct, array_like=True, tag=20, frozen=True):
    """Gateway → worker, version 2: no client of this gateway is behind any longer."""

    topic: str


class Moving(msgspec.Struct, array_like=True, tag=21, frozen=True):
    """Worker → gateway: this worker stops and the channel can move. Answered by Handover."""

    channel: int


class Handover(msgspec.Struct, array_like=True, tag=22, frozen=True):
    """Gateway → worker: the last command for this channel. Answered by Moved or by the channel's end."""

    channel: int


class HistoryState(msgspec.Struct, array_like=True, tag=23, frozen=True):
    """Worker → gateway, version 3: the position of a channel's topic when it was joined.

    `count` missed broadcasts follow in Missed. Recorded broadcasts of this epoch up to `offset` must not be
    delivered to the channel besides. `recovered` is false if completeness cannot be proven.

    With `fresh`, the client has asked for nothing but positions: it must receive what was broadcast since
    the answer to its join, and `offset`, which may be later, is the last before these broadcasts only if
    the gateway holds none of them.
    """

    channel: int
    epoch: Annotated[str, msgspec.Meta(max_length=64)]
    offset: Sequence
    recovered: bool
    count: Sequence
    fresh: bool = False


class MissedBroadcast(NamedTuple):
    """A kept broadcast that a client has missed."""

    offset: Sequence
    event: str
    codec: Codec
    data: bytes


class Missed(msgspec.Struct, array_like=True, tag=24, frozen=True):
    """Worker → gateway, version 3: the next broadcasts that the channel's client has missed, in order."""

    channel: int
    broadcasts: list[MissedBroadcast]


BACK_PRESSURE = 2
"""The link version from which on pushes and topics can be paused."""

ToWorker = Union[Hello, Join, Push, Leave, Replace, SocketDown, Handover, TopicPaused, TopicResumed]
ToGateway = Union[
    Welcome, Joined, Refused, Reply, Pushed, Closed, Crashed, Ping, Broadcast, Incompatible, Moved, Moving,
    PushesPaused, PushesResumed, HistoryState, Missed,
]  # fmt: skip

encode_batch = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode
decode_to_gateway = msgspec.msgpack.Decoder(list[ToGateway]).decode
decode_one_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
decode_one_to_gateway = msgspec.msgpack.Decoder(ToGateway).decode
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoders raise. Links use malformed.py, which finds out whom a malformed command concerns."""
