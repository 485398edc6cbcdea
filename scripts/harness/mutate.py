"""Mutates valid bytes into malformed ones, and values into unusual ones; reproducible by its seed."""

import random
from typing import Any

PIECES = (
    b"\x00", b"\xff", b"\xc1", b"\xc7\x00", b"\xd6\xff", b"[" * 300, b"\x91" * 300, b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b'"', b"\\ud800", b"\xed\xa0\x80", b"9" * 40,
    b"1e999", b"\r\n", b"$", b"{" * 20,
)  # fmt: skip
"""Bytes that are hard to parse: cut-off values, huge lengths, deep nesting, invalid numbers and text."""

ODD = (
    None, True, False, 0, -1, 2**63, 2**64 - 1, 1.5, "", "\x00", "$nodes", "phx_join", "phx_leave",
    "phx_close", "phx_error", "heartbeat", "phoenix", "room:by", "ü" * 300, "x" * 5_000, [], {}, [[[[]]]],
    {"": {}}, [None] * 20,
)  # fmt: skip
"""Values that are well-formed but of the wrong type or range for most fields."""


class Mutator:
    """Makes the mutations of one seed.

    Attributes:
        chance: the source of randomness.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._ways = (self._flip, self._cut, self._double, self._insert, self._end)

    def __call__(self, data: bytes) -> bytes:
        """Return the bytes with one to four changes."""
        broken = bytearray(data)
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            self.chance.choice(self._ways)(broken)
        return bytes(broken)

    def odd(self, value: Any) -> Any:
        """Return the value with one part replaced, duplicated, dropped or moved; still well-formed."""
        chance = self.chance
        if isinstance(value, list) and value and chance.random() < 0.9:
            return self._odd_list(list(value))
        if isinstance(value, dict) and value and chance.random() < 0.7:
            key = chance.choice(list(value))
            return {**value, key: self.odd(value[key])}
        if isinstance(value, str) and value and chance.random() < 0.3:
            cut = chance.randrange(len(value) + 1)
            return value[:cut] + chance.choice(("", ":", "*", "\x00", "é")) + value[cut:]
        return chance.choice(ODD)

    def field(self, message: list[Any]) -> list[Any]:
        """Return the message with one field replaced by an unusual value."""
        at = self.chance.randrange(len(message))
        return [*message[:at], self.odd(message[at]), *message[at + 1 :]]

    def _odd_list(self, values: list[Any]) -> list[Any]:
        chance = self.chance
        at = chance.randrange(len(values))
        way = chance.random()
        if way < 0.85:
            values[at] = self.odd(values[at])
        elif way < 0.9:
            values.append(values[at])
        elif way < 0.95:
            other = chance.randrange(len(values))
            values[at], values[other] = values[other], values[at]
        else:
            del values[at]
        return values

    def _at(self, data: bytearray) -> int:
        return self.chance.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)

    def _cut(self, data: bytearray) -> None:
        start = self._at(data)
        del data[start : start + self.chance.randrange(1, 9)]

    def _end(self, data: bytearray) -> None:
        del data[self._at(data) :]

    def _double(self, data: bytearray) -> None:
        start = self._at(data)
        piece = data[start : start + self.chance.randrange(1, 17)]
        data[start:start] = piece * self.chance.choice((1, 2, 50))

    def _insert(self, data: bytearray) -> None:
        start = self._at(data)
        data[start:start] = self.chance.choice(PIECES)
