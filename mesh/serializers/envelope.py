"""What may stand beside the payload of a client's message.

join_ref, ref and event travel on a link, as msgpack, together with the commands of other clients, and
ref comes back in a reply. JSON permits integers of any size and nests far deeper than that way allows,
so what does not fit is refused here, where it costs its sender only.
"""

from typing import Any

from mesh.errors import DecodeError

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
MAX_LEVELS = 16
"""Of nested arrays and objects; clients in use send strings, integers and null."""


def check(*fields: Any) -> None:
    """Raise DecodeError unless every field can travel."""
    for field in fields:
        if type(field) is not str and field is not None:
            _check(field, MAX_LEVELS)


def _check(value: Any, levels: int) -> None:
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise DecodeError("an integer beside the payload is beyond 64 bits")
    elif isinstance(value, (list, dict)):
        if not levels:
            raise DecodeError(f"a field beside the payload nests deeper than {MAX_LEVELS} levels")
        for each in value if isinstance(value, list) else value.values():
            _check(each, levels - 1)
