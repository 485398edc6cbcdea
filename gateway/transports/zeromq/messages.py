"""The messages between gateway and client over plain ZeroMQ (docs/protocol.md §1.2).

The first frame of a message is its kind. The messages of channels are the same as over WebSocket.
"""

from typing import Any

import msgspec

from mesh.gateway.fanout.delivery_stats import TopicStats
from mesh.gateway.flow.backlog import broadcast_frame
from mesh.gateway.transports.admission import RefusedError
from mesh.gateway.transports.base import Encoding
from mesh.protocol.serializers.base import Frame, Serializer
from mesh.protocol.serializers.registry import BY_NAME
from mesh.telemetry import shorten

OPEN, REFUSED, CLOSE, PING, TEXT, BINARY = b"O", b"R", b"C", b"P", b"T", b"B"

UNKNOWN = 4000
"""Close code: this gateway does not know the client, which must open again."""


class Opening(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a client's OPEN, as JSON."""

    path: str
    params: dict[str, Any] = {}


_decode_opening = msgspec.json.Decoder(Opening).decode
encode = msgspec.json.Encoder().encode


def read_opening(data: bytes) -> Opening:
    """Decode the content of an OPEN. Raises RefusedError if it is malformed."""
    try:
        return _decode_opening(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RefusedError(400, f"want JSON: path, params: {shorten(str(error))}") from None


def close_content(code: int, reason: str) -> dict[str, Any]:
    """Return the content of a CLOSE."""
    return {"code": int(code), "reason": reason}


def _ready(frame: Frame) -> tuple[bytes, bytes]:
    return (BINARY if frame.binary else TEXT), frame.data


def _broadcast(frames: tuple[bytes, bytes], stats: TopicStats, event: str) -> tuple[bytes, bytes]:
    return frames[0], broadcast_frame(frames[1], stats, event)


ENCODINGS: dict[Serializer, Encoding] = {
    each: Encoding(each, _ready, _broadcast) for each in BY_NAME.values()
}
