"""Decoders for msgpack data of other nodes."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from mesh.errors import WireError

Kind = TypeVar("Kind")


def decoder(kind: type[Kind], what: str) -> Callable[[bytes], Kind]:
    """Return a function that decodes a payload as `kind`, or raises WireError("not `what`: …")."""
    read = msgspec.msgpack.Decoder(kind).decode

    def decode(data: bytes) -> Kind:
        try:
            return read(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"not {what}: {error}") from None

    return decode
