"""What kinds of value a setting may have."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from mesh.addresses import check_address
from mesh.errors import SettingsError

MAX_SECONDS = 2_000_000
"""23 days: ZeroMQ counts milliseconds in a C int."""

Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
# 0 ms would mean "no heartbeats" to ZeroMQ.
Heartbeat = Annotated[float, Field(ge=0.001, le=MAX_SECONDS)]
Keepalive = Annotated[int, Field(ge=1, le=32_767)]  # seconds; the kernel takes no longer ones
Rate = Annotated[float, Field(gt=0, le=1e12)]
HighWaterMark = Annotated[int, Field(ge=1, le=2**31 - 1)]  # a C int
MessageBytes = Annotated[int, Field(le=2**63 - 1)]  # an int64


def address(address: str) -> str:
    """Return `address` if it is one of ZeroMQ. Raises ValueError, which pydantic understands."""
    try:
        check_address(address, "")
    except SettingsError as error:
        raise ValueError(str(error).removeprefix(": ")) from None
    return address


Address = Annotated[str, AfterValidator(address)]


def split(value: Any) -> Any:
    """From the environment a list comes as text: `a,b`, or JSON as for pydantic's other lists."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"not a JSON list: {error}") from None
    return [each.strip() for each in value.split(",") if each.strip()]


Texts = Annotated[list[str], NoDecode, BeforeValidator(split)]
