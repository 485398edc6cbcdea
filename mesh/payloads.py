"""Payloads between Python values and the bytes in transit.

`bytes` is a binary payload, everything else is JSON. What is pushed or broadcast must be an object
(or bytes), what is replied may be any JSON value: as in Phoenix.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, PayloadError
from mesh.messages import BINARY, JSON, MSGPACK

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_encode_msgpack = msgspec.msgpack.Encoder().encode
_decode_msgpack = msgspec.msgpack.Decoder().decode
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
"""First bytes of a msgpack map."""

EMPTY = b"{}"
MAX_PAYLOAD_BYTES = 8_000_000
"""Of one encoded payload: well below what bus and links carry, where more would end a connection."""


def encode(payload: Any, to: int = JSON) -> tuple[int, bytes]:
    """(codec, bytes) of any JSON value or bytes; None is the empty object, as a bare `:ok` in Phoenix.

    Args:
        payload: the value.
        to: JSON, or MSGPACK for a client that speaks it; bytes are BINARY in any case.

    Raises:
        PayloadError: if it is neither, or larger than 8,000,000 bytes.
    """
    if payload is None:
        return JSON, EMPTY
    if isinstance(payload, (bytes, bytearray, memoryview)):
        codec, data = BINARY, bytes(payload)
    else:
        codec, data = to, _encode_value(payload, to)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise PayloadError(
            f"payload {_short(payload)} is {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} can be sent"
        )
    return codec, data


def encode_object(payload: Any, to: int = JSON) -> tuple[int, bytes]:
    """As `encode`, for what is pushed or broadcast.

    Raises:
        PayloadError: if it is neither bytes nor an object.
    """
    codec, data = encode(payload, to)
    if codec != BINARY and not _is_object(codec, data):
        raise PayloadError(
            f"payload {_short(payload)} is not an object; push and broadcast want a dict or bytes"
        )
    return codec, data


def decode(codec: int, data: bytes) -> Any:
    """The Python value of a payload.

    Raises:
        DecodeError: if the bytes are not of that codec.
    """
    if codec == JSON:
        try:
            return _decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise DecodeError(f"payload is not JSON: {error}") from None
    if codec == BINARY:
        return data
    if codec == MSGPACK:
        try:
            return _decode_msgpack(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise DecodeError(f"payload is not msgpack: {error}") from None
    raise DecodeError(f"payload of unknown codec {codec}")


def _is_object(codec: int, data: bytes) -> bool:
    return data[:1] == b"{" if codec == JSON else data[0] in _MAPS


def _encode_value(payload: Any, to: int) -> bytes:
    try:
        return _encode(payload) if to == JSON else _encode_msgpack(payload)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise PayloadError(f"payload {_short(payload)} is not JSON: {error}") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
