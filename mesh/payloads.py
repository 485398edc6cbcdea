"""Payloads between Python values and the bytes in transit.

`bytes` is a binary payload, everything else is JSON. What is pushed or broadcast must be an object
(or bytes), what is replied may be any JSON value: as in Phoenix.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, PayloadError
from mesh.messages import BINARY, CONTROL, JSON, MSGPACK

_encode = msgspec.json.Encoder().encode
_skip = msgspec.json.Decoder(msgspec.Raw).decode
_decode = msgspec.json.Decoder().decode
_encode_msgpack = msgspec.msgpack.Encoder().encode
_decode_msgpack = msgspec.msgpack.Decoder(ext_hook=lambda code, _: _no_extension(code)).decode
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
"""First bytes of a msgpack map."""

EMPTY = b"{}"
MAX_PAYLOAD_BYTES = 8_000_000
"""Of one encoded payload: well below what bus and links carry, where more would end a connection."""


def encode(payload: Any, to: int = JSON) -> tuple[int, bytes]:
    """(codec, bytes) of any JSON value or bytes.

    Args:
        payload: the value.
        to: JSON, or MSGPACK for a client that speaks it; bytes are BINARY in any case.

    Raises:
        PayloadError: if it is neither, or larger than 8,000,000 bytes.
    """
    if isinstance(payload, (bytes, bytearray, memoryview)):
        codec, data = BINARY, bytes(payload)
    else:
        codec, data = to, _encode_value(payload, to)
        if type(payload) is msgspec.Raw:
            problem = flaw(codec, data)
            if problem is not None:
                raise PayloadError(f"payload {_short(bytes(payload))}: {problem}")
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


def flaw(codec: int, data: bytes) -> str | None:
    """Why these bytes are no payload of that codec; None if they are. Makes no Python values of JSON.

    Nothing that nests deeper than our own encoders can write is one either.
    """
    try:
        if codec == JSON:
            _skip(data)  # which looks at everything but whether strings are UTF-8
            if not data.isascii():
                str(data, "utf-8")
        elif codec == MSGPACK:
            _decode_msgpack(data)
        elif codec != BINARY:
            return f"payload of unknown codec {codec}"
    except RecursionError:
        return "payload nests too deep"
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return f"payload is not {'JSON' if codec == JSON else 'msgpack'}: {error}"
    return None


def message_flaw(event: str, codec: int, data: bytes) -> str | None:
    """Why something pushed or broadcast cannot be handed to anybody; None if it can."""
    if event in CONTROL:
        return f"event {event!r} belongs to the protocol"
    return flaw(codec, data)


def check_message(event: str, codec: int, data: bytes) -> None:
    """Raise DecodeError unless `decode` can read it and the event is not one of the protocol itself."""
    if event in CONTROL:
        raise DecodeError(f"event {event!r} belongs to the protocol")
    decode(codec, data)


def plain(value: Any) -> bytes:
    """A value as JSON.

    Raises:
        PayloadError: unless it would come back as it is: without bytes, NaN, or keys that are no text.
    """
    data = _encode_value(value, JSON)
    try:
        same = bool(_decode(data) == value)
    except RecursionError:
        same = False
    if not same:
        raise PayloadError(f"{_short(value)} is something else as JSON")
    return data


def _no_extension(code: int) -> Any:
    raise msgspec.DecodeError(f"extension type {code} has no counterpart in JSON")


def _is_object(codec: int, data: bytes) -> bool:
    return data[:1] == b"{" if codec == JSON else data[0] in _MAPS


def _encode_value(payload: Any, to: int) -> bytes:
    try:
        return _encode(payload) if to == JSON else _encode_msgpack(payload)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise PayloadError(f"payload {_short(payload)} is not JSON: {error}") from None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        return "(deep)"
    return text if len(text) <= 80 else text[:77] + "..."
