"""Conversion of payloads between Python values and the bytes in transit.

`bytes` are a binary payload, everything else is JSON. As in Phoenix, a push or broadcast must be an object
(or bytes), a reply may be any JSON value. This applies to our own senders: what other programs push or
broadcast may be any JSON value, and receivers pass it on.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, PayloadError
from mesh.protocol.messages import BINARY, CONTROL, JSON, MAX_EVENT_BYTES, MSGPACK

_encode = msgspec.json.Encoder().encode
_scan = msgspec.json.Decoder(msgspec.Raw).decode
_decode = msgspec.json.Decoder().decode
_encode_msgpack = msgspec.msgpack.Encoder().encode
_decode_msgpack = msgspec.msgpack.Decoder(ext_hook=lambda code, _: _no_extension(code)).decode
_MAP_BYTES = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
"""The first bytes of a msgpack map."""

EMPTY = b"{}"
MAX_PAYLOAD_BYTES = 8_000_000
"""The largest encoded payload: well below what bus and links accept, where more ends a connection."""


def encode(payload: Any, to: int = JSON) -> tuple[int, bytes]:
    """Encode any JSON value or bytes; return (codec, bytes).

    Args:
        payload: the value.
        to: JSON, or MSGPACK for a client that uses it; bytes are always encoded as BINARY.

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
                raise PayloadError(f"payload {_shorten(bytes(payload))}: {problem}")
    if len(data) > MAX_PAYLOAD_BYTES:
        raise PayloadError(
            f"payload {_shorten(payload)} is {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} can be sent"
        )
    return codec, data


def encode_object(payload: Any, to: int = JSON) -> tuple[int, bytes]:
    """As `encode`, for pushes and broadcasts.

    Raises:
        PayloadError: if it is neither bytes nor an object.
    """
    codec, data = encode(payload, to)
    if codec != BINARY and not _is_object(codec, data):
        raise PayloadError(
            f"payload {_shorten(payload)} is not an object; push and broadcast want a dict or bytes"
        )
    return codec, data


def decode(codec: int, data: bytes) -> Any:
    """Return the Python value of a payload.

    Raises:
        DecodeError: if the bytes are not valid in that codec.
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
    """Return why these bytes are not a payload of that codec; None if they are. JSON is not converted.

    Payloads that are larger, or nested deeper, than our own encoders can write are rejected as well.
    """
    if len(data) > MAX_PAYLOAD_BYTES:
        return f"payload of {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} can be sent"
    try:
        if codec == JSON:
            _scan(data)  # checks everything except that strings are UTF-8
            if not data.isascii():
                str(data, "utf-8")
        elif codec == MSGPACK:
            _decode_msgpack(data)
        elif codec != BINARY:
            return f"payload of unknown codec {codec}"
    except RecursionError:
        return "payload is nested too deep"
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return f"payload is not {'JSON' if codec == JSON else 'msgpack'}: {error}"
    return None


def message_flaw(event: str, codec: int, data: bytes) -> str | None:
    """Return why a push or broadcast cannot be delivered; None if it can."""
    return event_flaw(event) or flaw(codec, data)


def event_flaw(event: str) -> str | None:
    """Return why an event of another program cannot be delivered; None if it can."""
    if event in CONTROL:
        return f"event {event!r} is reserved by the protocol"
    if len(event) > MAX_EVENT_BYTES // 4:  # otherwise its UTF-8 cannot be too long
        size = len(event.encode())
        if size > MAX_EVENT_BYTES:
            return f"event of {size} bytes; at most {MAX_EVENT_BYTES}"
    return None


def check_message(event: str, codec: int, data: bytes) -> None:
    """As `message_flaw`, but raise DecodeError, also for a payload that only `decode` cannot read."""
    read_message(event, codec, data)


def read_message(event: str, codec: int, data: bytes) -> Any:
    """Return the Python value of a push or broadcast.

    Raises:
        DecodeError: if `message_flaw` finds a flaw, or `decode` cannot read the payload.
    """
    problem = event_flaw(event)
    if problem is not None:
        raise DecodeError(problem)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise DecodeError(f"payload of {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} can be sent")
    return decode(codec, data)


def encode_lossless(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        PayloadError: if it does not survive the conversion, such as bytes, NaN, and keys that are not
        strings.
    """
    data = _encode_value(value, JSON)
    try:
        same = bool(_decode(data) == value)
    except RecursionError:
        same = False
    if not same:
        raise PayloadError(f"{_shorten(value)} does not survive the conversion to JSON")
    return data


def _no_extension(code: int) -> Any:
    raise msgspec.DecodeError(f"extension type {code} has no counterpart in JSON")


def _is_object(codec: int, data: bytes) -> bool:
    return data[:1] == b"{" if codec == JSON else data[0] in _MAP_BYTES


def _encode_value(payload: Any, to: int) -> bytes:
    try:
        return _encode(payload) if to == JSON else _encode_msgpack(payload)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise PayloadError(f"payload {_shorten(payload)} is not JSON: {error}") from None


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        return "(deep)"
    return text if len(text) <= 80 else text[:77] + "..."
