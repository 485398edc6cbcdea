"""What a gateway tells the others of a topic whose joins have ended workers: kind 10 on `$joins`. Pure."""

from typing import NamedTuple

import msgspec

from mesh.bus.decoding import decoder


class RefusedTopic(NamedTuple):
    """A topic whose joins are refused.

    Attributes:
        mount: path of the socket mount.
        topic: that was joined.
        times: how often its joins have begun to be refused, this time included; each doubles the wait.
    """

    mount: str
    topic: str
    times: int


encode = msgspec.msgpack.Encoder().encode
decode = decoder(RefusedTopic, "a topic whose joins are refused")
"""Raises WireError."""
