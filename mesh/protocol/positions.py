"""The positions of kept broadcasts, as a client receives them that asked for its topic's history. Pure.

The position of a broadcast is in its ref. A serializer that cannot express the ref of a binary broadcast
(`Serializer.binary_broadcasts_have_ref`) sends the event `history_position` right before it.
"""

import msgspec

from mesh.protocol.messages import BINARY, JSON
from mesh.protocol.serializers.base import Frame, Serializer

HISTORY_STATE = "history_state"
"""The event that follows the reply to a join that asked for the history."""
HISTORY_POSITION = "history_position"
"""The event with the position of a broadcast that is not in the ref of a message."""

_encode = msgspec.json.Encoder().encode


def ref(epoch: str, offset: int) -> str:
    """Return the ref of a broadcast at this position; no client sends such a ref."""
    return f"{epoch}:{offset}"


def encode_state(epoch: str, offset: int, recovered: bool, count: int) -> bytes:
    """Return the payload of `history_state`, as JSON."""
    return _encode({"epoch": epoch, "offset": offset, "recovered": recovered, "count": count})


def encode_position(serializer: Serializer, topic: str, epoch: str, offset: int) -> Frame:
    """Return the `history_position` that a client receives in place of its own broadcast."""
    return serializer.encode_broadcast(
        topic, HISTORY_POSITION, JSON, _encode({"epoch": epoch, "offset": offset})
    )


def encode_broadcast(
    serializer: Serializer, topic: str, event: str, codec: int, data: bytes, epoch: str, offset: int
) -> tuple[Frame, ...]:
    """Return the frames of a broadcast with its position: one, or two for bytes without a ref.

    Raises:
        EncodeError: if the protocol version of the serializer cannot express the broadcast.
    """
    frame = serializer.encode_broadcast(topic, event, codec, data, ref(epoch, offset))
    if codec != BINARY or serializer.binary_broadcasts_have_ref:
        return (frame,)
    position = _encode({"epoch": epoch, "offset": offset, "event": event})
    return serializer.encode_broadcast(topic, HISTORY_POSITION, JSON, position), frame
