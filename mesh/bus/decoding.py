"""Reads what other nodes have packed with msgpack."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from mesh.errors import WireError

Kind = TypeVar("Kind")


def decoder(kind: type[Kind], what: str) -> Callable[[bytes], Kind]:
    """A function that reads a payload as `kind`; for anything else it raises WireError: "not `what`: …"."""
    read = msgspec.msgpack.Decoder(kind).decode

    def decode(data: bytes) -> Kind:
        try:
            return read(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"not {what}: {error}") from None

    return decode
