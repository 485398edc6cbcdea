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


def encode(payload: Any) -> tuple[int, bytes]:
    """(codec, bytes) of any JSON value or bytes; None is the empty object, as a bare `:ok` in Phoenix.

    Raises:
        PayloadError: if it is neither.
    """
    if payload is None:
        return JSON, EMPTY
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return BINARY, bytes(payload)
    try:
        return JSON, _encode(payload)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise PayloadError(f"payload {_short(payload)} is not JSON: {error}") from None


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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
