"""What gateways tell each other about topics whose joins have ended workers: kind 10 on `$joins`. Pure."""

from typing import NamedTuple

import msgspec

from mesh.bus.decoding import decoder


class RefusedTopic(NamedTuple):
    """A topic whose joins are refused for a while.

    Attributes:
        mount: the path of the socket mount.
        topic: the topic of the joins.
        times: how often its joins have been suspended, including this time; the time doubles with each.
    """

    mount: str
    topic: str
    times: int


encode = msgspec.msgpack.Encoder().encode
decode = decoder(RefusedTopic, "a topic whose joins are suspended")
"""Reads the payload. Raises WireError for anything else."""
