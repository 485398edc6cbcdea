"""Reads batches of which a command is malformed: that command costs only what it names. Pure.

A batch is decoded in one go. Only if that fails it is taken apart, and each command is decoded by itself:
one that names a channel costs that channel, one that names nothing costs the link (docs/protocol.md §3.4).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from mesh.errors import WireError
from mesh.link import commands

MAX_COMMANDS = 100_000
"""Of a batch that is taken apart. Ours have 1,024 at the most (mesh/link/batches.py)."""
MAX_VALUES = 250_000
"""Of a batch that are looked at one by one, for what a command names or where it ends."""

_SOCKET_DOWN, _BROADCAST = 6, 14
_OF_A_CHANNEL = frozenset({2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 16, 17, 18, 21, 22})
_NUMBERS = frozenset(range(23))
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_any = msgspec.msgpack.Decoder().decode


class Malformed(NamedTuple):
    """A command that cannot be carried out.

    Attributes:
        channels: the numbers of the channels that it names.
        topic: that it names instead of a channel.
        reason: what is wrong with it.
    """

    channels: tuple[int, ...]
    topic: str | None
    reason: str

    @property
    def attributed(self) -> bool:
        """Whether it names whom it concerns."""
        return bool(self.channels) or self.topic is not None


class Unknown(NamedTuple):
    """A command of a number that this side does not know; it is ignored."""

    number: int


Gateways = commands.ToGateway | Malformed | Unknown
Workers = commands.ToWorker | Malformed | Unknown


def read_to_gateway(batch: bytes) -> list[Gateways]:
    """Read a worker's batch. Raises WireError for what is no array of commands."""
    try:
        return commands.decode_to_gateway(batch)  # type: ignore[return-value]
    except WireError as error:
        return _apart(batch, commands.decode_one_to_gateway, error)


def read_to_worker(batch: bytes) -> list[Workers]:
    """Read a gateway's batch. Raises WireError for what is no array of commands."""
    try:
        return commands.decode_to_worker(batch)  # type: ignore[return-value]
    except WireError as error:
        return _apart(batch, commands.decode_one_to_worker, error)


def _apart(batch: bytes, decode: Callable[[bytes], Any], problem: WireError) -> list[Any]:
    try:
        if _array(batch)[0] > MAX_COMMANDS:
            raise problem
        pieces = [bytes(each) for each in _raw(batch)]
    except RecursionError:
        pieces = _split(batch, problem)
    except (WireError, *_ERRORS):
        raise problem from None
    budget = [MAX_VALUES]
    return [_command(piece, decode, budget) for piece in pieces]


def _command(piece: bytes, decode: Callable[[bytes], Any], budget: list[int]) -> Any:
    try:
        return decode(piece)
    except _ERRORS as error:
        return _blame(piece, str(error), budget)


def _blame(piece: bytes, reason: str, budget: list[int]) -> Malformed | Unknown:
    number, named = _head(piece, budget)
    if type(number) is not int:  # it may be a list, which no set can be asked for
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
    """A command's number, and its first element; None for what is not there or cannot be read."""
    values: list[Any] = [None, None]
    try:
        length, start = _array(piece)
        for index in range(min(length, 2)):
            end = _end(piece, start, budget)
            values[index] = _any(piece[start:end])
            start = end
    except (WireError, *_ERRORS):
        pass
    return values[0], values[1]


# Without recursion, for what nests deeper than msgspec follows

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
"""By the first byte: (size of the value, without those within it; how many are within it)."""
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
          0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
"""Of bin, ext and str: (bytes of the length, bytes between length and content)."""
_NESTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Of array and map: (bytes of the length, values for each entry)."""


def _split(batch: bytes, problem: WireError) -> list[bytes]:
    """The commands of a batch."""
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
    """The length of the array that starts here, and where its first value starts."""
    first = data[0] if data else 0xC1
    if 0x90 <= first <= 0x9F:
        return first & 0x0F, 1
    if first in (0xDC, 0xDD):
        size = _NESTED[first][0]
        return int.from_bytes(data[1 : 1 + size], "big"), 1 + size
    raise WireError("not an array")


def _end(data: bytes, start: int, budget: list[int]) -> int:
    """Where the value ends that starts here; takes the values that it consists of from the budget."""
    missing, left, length = 1, budget[0], len(data)
    while missing:
        if start >= length or not left:
            raise WireError("cut off, or of too many values")
        left -= 1
        size, values = _SIMPLE[data[start]] or _value(data, start)
        start += size
        missing += values - 1
    if start > length:
        raise WireError("cut off")
    budget[0] = left
    return start


def _value(data: bytes, start: int) -> tuple[int, int]:
    """As in _SIMPLE, of a value that says its length in bytes of their own."""
    first = data[start]
    if first in _NESTED:
        size, each = _NESTED[first]
        return 1 + size, each * int.from_bytes(data[start + 1 : start + 1 + size], "big")
    if first in _SIZED:
        size, between = _SIZED[first]
        return 1 + size + between + int.from_bytes(data[start + 1 : start + 1 + size], "big"), 0
    raise WireError("not msgpack")
