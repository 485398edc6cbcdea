"""The types of values that settings have."""

import json
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from mesh.addresses import check_address
from mesh.errors import SettingsError

MAX_SECONDS = 2_000_000
"""23 days, because ZeroMQ stores milliseconds in a C int."""


class Check(NamedTuple):
    """A check in an annotation: returns the value to keep, or raises ValueError with what is expected."""

    function: Callable[[Any], Any]


class Split(NamedTuple):
    """A parser in a list's annotation: turns text into the list, or raises ValueError."""

    function: Callable[[str], list[Any]]


Seconds = Annotated[float, Meta(gt=0, le=MAX_SECONDS)]
# 0 ms would mean "no heartbeats" to ZeroMQ.
Heartbeat = Annotated[float, Meta(ge=0.001, le=MAX_SECONDS)]
Keepalive = Annotated[int, Meta(ge=1, le=32_767)]  # seconds; the kernel's limit
Rate = Annotated[float, Meta(gt=0, le=1e12)]
HighWaterMark = Annotated[int, Meta(ge=1, le=2**31 - 1)]  # a C int
MessageBytes = Annotated[int, Meta(le=2**63 - 1)]  # an int64
Port = Annotated[int, Meta(ge=0, le=65_535)]


def address(address: str) -> str:
    """Return `address` if it is a valid ZeroMQ address. Raises ValueError."""
    try:
        return check_address(address, "")
    except SettingsError as error:
        raise ValueError(str(error).removeprefix(": ")) from None


Address = Annotated[str, Check(address)]


def split(text: str) -> list[Any]:
    """Parse a list given as text: `a,b` or JSON. Raises ValueError."""
    if text.lstrip().startswith("["):
        try:
            return list(json.loads(text))
        except ValueError as error:
            raise ValueError(f"not a JSON list: {error}") from None
    return [each.strip() for each in text.split(",") if each.strip()]


StringList = Annotated[list[str], Split(split)]
