"""Payloads between Python values and the bytes in transit.

`bytes` is a binary payload, everything else is JSON. What is pushed or broadcast must be an object
(or bytes), what is replied may be any JSON value: as in Phoenix.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, PayloadError
from mesh.messages import BINARY, JSON

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

EMPTY = b"{}"
MAX_PAYLOAD_BYTES = 8_000_000
"""Of one encoded payload: well below what bus and links carry, where more would end a connection."""


def encode(payload: Any) -> tuple[int, bytes]:
    """(codec, bytes) of any JSON value or bytes; None is the empty object, as a bare `:ok` in Phoenix.

    Raises:
        PayloadError: if it is neither, or larger than 8,000,000 bytes.
    """
    if payload is None:
        return JSON, EMPTY
    if isinstance(payload, (bytes, bytearray, memoryview)):
        codec, data = BINARY, bytes(payload)
    else:
        codec, data = JSON, _encode_json(payload)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise PayloadError(
            f"payload {_short(payload)} is {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} can be sent"
        )
    return codec, data


def encode_object(payload: Any) -> tuple[int, bytes]:
    """As `encode`, for what is pushed or broadcast.

    Raises:
        PayloadError: if it is neither bytes nor an object.
    """
    codec, data = encode(payload)
    if codec == JSON and data[:1] != b"{":
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
    raise DecodeError(f"payload of unknown codec {codec}")


def _encode_json(payload: Any) -> bytes:
    try:
        return _encode(payload)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise PayloadError(f"payload {_short(payload)} is not JSON: {error}") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
