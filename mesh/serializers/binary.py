"""V2's binary frames: one kind byte, one-byte sizes, the fields, the data.

Source: Phoenix.Socket.V2.JSONSerializer; the layouts are those of Phoenix 1.7 and 1.8.
"""

from typing import Any

from mesh.errors import DecodeError, EncodeError
from mesh.messages import BINARY, Message

PUSH, REPLY, BROADCAST = 0, 1, 2
FIELD_BYTES = 255


def decode_push(data: bytes) -> Message:
    """Read kind 0: `00 | sizes of join_ref ref topic event | fields | data`.

    Raises:
        DecodeError: for another kind, truncation, or fields that are not UTF-8.
    """
    if len(data) < 5 or data[0] != PUSH:
        raise DecodeError(f"not a V2 binary push: starts with {data[:5].hex(' ')!r}")
    ends = []
    end = 5
    for size in data[1:5]:
        end += size
        ends.append(end)
    if end > len(data):
        raise DecodeError(f"V2 binary push of {len(data)} bytes announces fields up to byte {end}")
    a, b, c, d = ends
    try:
        join_ref, ref = str(data[5:a], "utf-8"), str(data[a:b], "utf-8")
        topic, event = str(data[b:c], "utf-8"), str(data[c:d], "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"V2 binary push: {error}") from None
    return Message(join_ref, ref, topic, event, BINARY, data[d:])


def encode_reply(join_ref: Any, ref: Any, topic: Any, status: str, data: bytes) -> bytes:
    """Kind 1. Raises EncodeError if a field is longer than 255 bytes."""
    return _pack(REPLY, (_ref(join_ref), _ref(ref), _field(topic), _field(status)), data)


def encode_push(join_ref: Any, topic: str, event: str, data: bytes) -> bytes:
    """Kind 0, from the server: no ref. Raises EncodeError if a field is longer than 255 bytes."""
    return _pack(PUSH, (_ref(join_ref), _field(topic), _field(event)), data)


def encode_broadcast(topic: str, event: str, data: bytes) -> bytes:
    """Kind 2. Raises EncodeError if a field is longer than 255 bytes."""
    return _pack(BROADCAST, (_field(topic), _field(event)), data)


def _pack(kind: int, fields: tuple[bytes, ...], data: bytes) -> bytes:
    return bytes((kind, *map(len, fields))) + b"".join(fields) + data


def _ref(ref: Any) -> bytes:
    return b"" if ref is None else _field(ref)


def _field(value: Any) -> bytes:
    field = (value if isinstance(value, str) else str(value)).encode()
    if len(field) > FIELD_BYTES:
        raise EncodeError(
            f"{field[:32]!r}… is {len(field)} bytes; a field of a binary frame holds {FIELD_BYTES}"
        )
    return field
