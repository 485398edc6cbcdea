"""What a gateway tells the others of a topic whose joins have ended workers: kind 10 on `$joins`. Pure."""

from typing import NamedTuple

import msgspec

from mesh.bus.decoding import decoder


class LeftAlone(NamedTuple):
    """A topic that is left alone.

    Attributes:
        mount: path of the socket mount.
        topic: that was joined.
        times: how often it has been left alone, this time included; each doubles the wait.
    """

    mount: str
    topic: str
    times: int


encode = msgspec.msgpack.Encoder().encode
decode = decoder(LeftAlone, "a topic that is left alone")
"""Raises WireError."""
