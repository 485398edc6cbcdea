"""Decodes batches that contain malformed commands, so that each affects only what it names. Pure.

A batch is normally decoded as a whole. Only if that fails it is split, and each command is decoded
separately: a malformed command that names a channel ends that channel, one that names nothing ends the link
(docs/protocol.md §3.4).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from mesh.errors import WireError
from mesh.link import commands

MAX_COMMANDS = 100_000
"""The most commands of a batch that is split. Our own batches have at most 1,024 (mesh/link/batches.py)."""
MAX_VALUES = 250_000
"""The most msgpack values of a batch that are examined to find what its commands name."""

_SOCKET_DOWN, _BROADCAST = 6, 14
_OF_A_CHANNEL = frozenset({2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 16, 17, 18, 21, 22, 23, 24})
_NUMBERS = frozenset(range(25))
_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_any = msgspec.msgpack.Decoder().decode


class Malformed(NamedTuple):
    """A command that cannot be decoded.

    Attributes:
        channels: the numbers of the channels that it names.
        topic: the topic that it names instead of a channel.
        reason: why it cannot be decoded.
    """

    channels: tuple[int, ...]
    topic: str | None
    reason: str

    @property
    def attributed(self) -> bool:
        """Whether it names a channel or topic."""
        return bool(self.channels) or self.topic is not None


class Unknown(NamedTuple):
    """A command of a type that this side does not know; it is ignored."""

    number: int


Gateways = commands.ToGateway | Malformed | Unknown
Workers = commands.ToWorker | Malformed | Unknown


def read_to_gateway(batch: bytes) -> list[Gateways]:
    """Decode a worker's batch. Raises WireError for anything that is not an array of commands."""
    try:
        return commands.decode_to_gateway(batch)  # type: ignore[return-value]
    except commands.UNREADABLE as error:
        problem = WireError(f"not a batch of link commands to a gateway: {error}")
        return _apart(batch, commands.decode_one_to_gateway, problem)


def read_to_worker(batch: bytes) -> list[Workers]:
    """Decode a gateway's batch. Raises WireError for anything that is not an array of commands."""
    try:
        return commands.decode_to_worker(batch)  # type: ignore[return-value]
    except commands.UNREADABLE as error:
        problem = WireError(f"not a batch of link commands to a worker: {error}")
        return _apart(batch, commands.decode_one_to_worker, problem)


def _apart(batch: bytes, decode: Callable[[bytes], Any], problem: WireError) -> list[Any]:
    try:
        if _array(batch)[0] > MAX_COMMANDS:
            raise problem
        pieces = [bytes(each) for each in _raw(batch)]
    except RecursionError:
        pieces = _split(batch, problem)
    except (WireError, *commands.UNREADABLE):
        raise problem from None
    budget = [MAX_VALUES]
    return [_command(piece, decode, budget) for piece in pieces]


def _command(piece: bytes, decode: Callable[[bytes], Any], budget: list[int]) -> Any:
    try:
        return decode(piece)
    except commands.UNREADABLE as error:
        return _blame(piece, str(error), budget)


def _blame(piece: bytes, reason: str, budget: list[int]) -> Malformed | Unknown:
    number, named = _head(piece, budget)
    if type(number) is not int:  # it may be a list, which is not hashable
        return Malformed((), None, reason)
    if number not in _NUMBERS:
        return Unknown(number)
    if number in _OF_A_CHANNEL and type(named) is int:
        return Malformed((named,), None, reason)
    if number == _SOCKET_DOWN and type(named) is list:
        return Malformed(tuple(each for each in named if type(each) is int), None, reason)
    if number == _BROADCAST and type(named) is str:
        return Malformed((), named, reason)
    return Malformed((), None, reason)


def _head(piece: bytes, budget: list[int]) -> tuple[Any, Any]:
    """Return a command's type and its first element; None for each that is missing or cannot be decoded."""
    values: list[Any] = [None, None]
    try:
        length, start = _array(piece)
        for index in range(min(length, 2)):
            end = _end(piece, start, budget)
            values[index] = _any(piece[start:end])
            start = end
    except (WireError, *commands.UNREADABLE):
        pass
    return values[0], values[1]


# Iterative, because values may nest deeper than msgspec can follow

_SIMPLE: list[tuple[int, int] | None] = [
    *[(1, 0)] * 0x80,  # small integers
    *[(1, 2 * entries) for entries in range(16)],  # map
    *[(1, entries) for entries in range(16)],  # array
    *[(1 + length, 0) for length in range(32)],  # str
    (1, 0), None, (1, 0), (1, 0),  # nil, never used, false, true
    None, None, None, None, None, None,  # bin and ext, below
    (5, 0), (9, 0), (2, 0), (3, 0), (5, 0), (9, 0), (2, 0), (3, 0), (5, 0), (9, 0),  # numbers
    (3, 0), (4, 0), (6, 0), (10, 0), (18, 0),  # ext of a fixed length
    *[None] * 7,  # str, array and map, below
    *[(1, 0)] * 0x20,  # small negative integers
]  # fmt: skip
"""By the first byte: (size of the value without the values in it, number of values in it)."""
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
          0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
"""Of bin, ext and str: (size of the length field, bytes between length and content)."""
_NESTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Of array and map: (size of the length field, values per entry)."""


def _split(batch: bytes, problem: WireError) -> list[bytes]:
    """Return the commands of a batch."""
    try:
        length, start = _array(batch)
        budget, pieces = [MAX_VALUES], []
        for _ in range(length):
            end = _end(batch, start, budget)
            pieces.append(batch[start:end])
            start = end
    except WireError:
        raise problem from None
    if start != len(batch):
        raise problem from None
    return pieces


def _array(data: bytes) -> tuple[int, int]:
    """Return the length of the array at the start, and the position of its first value."""
    first = data[0] if data else 0xC1
    if 0x90 <= first <= 0x9F:
        return first & 0x0F, 1
    if first in (0xDC, 0xDD):
        size = _NESTED[first][0]
        return int.from_bytes(data[1 : 1 + size], "big"), 1 + size
    raise WireError("not an array")


def _end(data: bytes, start: int, budget: list[int]) -> int:
    """Return the position after the value at `start`; subtract the number of its values from the budget."""
    missing, left, length = 1, budget[0], len(data)
    while missing:
        if start >= length or not left:
            raise WireError("truncated, or too many values")
        left -= 1
        size, values = _SIMPLE[data[start]] or _value(data, start)
        start += size
        missing += values - 1
    if start > length:
        raise WireError("truncated")
    budget[0] = left
    return start


def _value(data: bytes, start: int) -> tuple[int, int]:
    """As in _SIMPLE, for a value with a length field."""
    first = data[start]
    if first in _NESTED:
        size, each = _NESTED[first]
        return 1 + size, each * int.from_bytes(data[start + 1 : start + 1 + size], "big")
    if first in _SIZED:
        size, between = _SIZED[first]
        return 1 + size + between + int.from_bytes(data[start + 1 : start + 1 + size], "big"), 0
    raise WireError("not msgpack")
