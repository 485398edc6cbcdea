"""Values that the vectors share, and their form in JSON."""

from typing import Any

import msgspec

from mesh.protocol.messages import Codec

MSGPACK = int(Codec.MSGPACK)
EPOCH = "k3v9a0b1c2d3"
pack = msgspec.msgpack.encode
Vector = dict[str, Any]


def readable(value: Any) -> Any:
    """Convert a value for JSON: bytes become {"hex": …}."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, (list, tuple)):
        return [readable(each) for each in value]
    if isinstance(value, dict):
        return {key: readable(each) for key, each in value.items()}
    return value
