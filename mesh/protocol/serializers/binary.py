"""V2's binary frames: a kind byte, the size of each field in one byte, the fields, and the data.

Source: Phoenix.Socket.V2.JSONSerializer; the layouts are those of Phoenix 1.7 and 1.8.
"""

from typing import Any

from mesh.errors import DecodeError, EncodeError
from mesh.protocol.messages import BINARY, Message

PUSH, REPLY, BROADCAST = 0, 1, 2
FIELD_BYTES = 255
_SERVER_FIELDS = {PUSH: 3, REPLY: 4, BROADCAST: 2}


def decode_push(data: bytes) -> Message:
    """Decode kind 0: `00 | sizes of join_ref ref topic event | fields | data`.

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
        raise DecodeError(f"V2 binary push of {len(data)} bytes declares fields up to byte {end}")
    a, b, c, d = ends
    try:
        join_ref, ref = str(data[5:a], "utf-8"), str(data[a:b], "utf-8")
        topic, event = str(data[b:c], "utf-8"), str(data[c:d], "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"V2 binary push: {error}") from None
    return Message(join_ref, ref, topic, event, BINARY, data[d:])


def encode_client_push(join_ref: Any, ref: Any, topic: str, event: str, data: bytes) -> bytes:
    """Encode kind 0 as a client sends it, with a ref. Raises EncodeError for a field over 255 bytes."""
    return _pack(PUSH, (_ref(join_ref), _ref(ref), _field(topic), _field(event)), data)


def decode_server(data: bytes) -> tuple[int, list[str], bytes]:
    """Decode a server's message into (kind, fields, data).

    The fields of a push are join_ref, topic, event; those of a reply join_ref, ref, topic, status; those of
    a broadcast topic, event.

    Raises:
        DecodeError: for another kind, truncation, or fields that are not UTF-8.
    """
    count = _SERVER_FIELDS.get(data[0]) if data else None
    if count is None or len(data) < 1 + count:
        raise DecodeError(f"not a V2 binary message: starts with {data[:5].hex(' ')!r}")
    start = 1 + count
    fields = []
    for size in data[1 : 1 + count]:
        fields.append(data[start : start + size])
        start += size
    if start > len(data):
        raise DecodeError(f"V2 binary message of {len(data)} bytes declares fields up to byte {start}")
    try:
        return data[0], [str(each, "utf-8") for each in fields], data[start:]
    except UnicodeDecodeError as error:
        raise DecodeError(f"V2 binary message: {error}") from None


def encode_reply(join_ref: Any, ref: Any, topic: Any, status: str, data: bytes) -> bytes:
    """Encode kind 1. Raises EncodeError for a field over 255 bytes."""
    return _pack(REPLY, (_ref(join_ref), _ref(ref), _field(topic), _field(status)), data)


def encode_push(join_ref: Any, topic: str, event: str, data: bytes) -> bytes:
    """Encode kind 0 as a server sends it, without a ref. Raises EncodeError for a field over 255 bytes."""
    return _pack(PUSH, (_ref(join_ref), _field(topic), _field(event)), data)


def encode_broadcast(topic: str, event: str, data: bytes) -> bytes:
    """Encode kind 2. Raises EncodeError for a field over 255 bytes."""
    return _pack(BROADCAST, (_field(topic), _field(event)), data)


def _pack(kind: int, fields: tuple[bytes, ...], data: bytes) -> bytes:
    return bytes((kind, *map(len, fields))) + b"".join(fields) + data


def _ref(ref: Any) -> bytes:
    return b"" if ref is None else _field(ref)


def _field(value: Any) -> bytes:
    field = (value if isinstance(value, str) else str(value)).encode()
    if len(field) > FIELD_BYTES:
        raise EncodeError(
            f"{field[:32]!r}… has {len(field)} bytes; a field of a binary frame has at most {FIELD_BYTES}"
        )
    return field
