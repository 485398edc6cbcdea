"""V2's five elements, and what the fields besides the payload may contain in any version.

join_ref, ref and event travel over a link in msgpack, together with the commands of other clients, and ref
is returned in a reply. JSON permits integers of any size and much deeper nesting than a link can carry, so
such fields are rejected here, where this affects only their sender.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, EncodeError

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
MAX_LEVELS = 16
"""The deepest nesting of arrays and objects in a field; known clients send strings, integers and null."""
MAX_PAYLOAD_LEVELS = 512
"""Half of what the JSON library can encode: a handler may wrap a payload and send it on."""


_encode = msgspec.json.Encoder().encode


def encode_fields(fields: Any) -> bytes:
    """Encode fields besides the payload as JSON. Raises EncodeError for a ref that JSON cannot express."""
    try:
        return _encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise EncodeError(f"a ref cannot be sent as JSON: {error}") from None


class V2(msgspec.Struct, array_like=True):
    """V2's five elements. Additional ones are ignored, missing ones are an error, as in Phoenix."""

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    payload: msgspec.Raw


def check(*fields: Any) -> None:
    """Raise DecodeError unless every field can be sent over a link."""
    for field in fields:
        if type(field) is not str and field is not None:
            _check(field, MAX_LEVELS)


def size(field: Any) -> int:
    """Return the size in bytes of a field that has passed `check`."""
    if isinstance(field, str):
        return len(field) if field.isascii() else len(field.encode("utf-8", "surrogatepass"))
    if field is None or isinstance(field, (int, float)):
        return 8
    return len(repr(field))


def _check(value: Any, levels: int) -> None:
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise DecodeError("an integer in a field besides the payload exceeds 64 bits")
    elif isinstance(value, (list, dict)):
        if not levels:
            raise DecodeError(f"a field besides the payload is nested more than {MAX_LEVELS} levels deep")
        for each in value if isinstance(value, list) else value.values():
            _check(each, levels - 1)


def check_payload(data: bytes, payload: Any) -> None:
    """Raise DecodeError if `payload`, decoded from `data`, is nested too deep to be sent on."""
    if data.count(b"[") + data.count(b"{") <= MAX_PAYLOAD_LEVELS:
        return
    check_levels(payload)


def check_levels(payload: Any) -> None:
    """Raise DecodeError if `payload` is nested too deep to be sent on."""
    level = [payload]
    for _ in range(MAX_PAYLOAD_LEVELS):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise DecodeError(f"the payload is nested more than {MAX_PAYLOAD_LEVELS} levels deep")


def _inside(value: Any) -> list[Any]:
    """Return the arrays and objects in an array or object."""
    values = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return [each for each in values if isinstance(each, (list, dict))]
