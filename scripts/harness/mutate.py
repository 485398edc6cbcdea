"""Mutates valid bytes into malformed ones, and values into unusual ones; reproducible by its seed."""

import random
from typing import Any

PIECES = (
    b"\x00", b"\xff", b"\xc1", b"\xc7\x00", b"\xd6\xff", b"[" * 300, b"\x91" * 300, b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b'"', b"\\ud800", b"\xed\xa0\x80", b"9" * 40,
    b"1e999", b"\r\n", b"$", b"{" * 20,
)  # fmt: skip
"""Bytes that are hard to parse: cut-off values, huge lengths, deep nesting, invalid numbers and text."""

ODD_VALUES = (
    None, True, False, 0, -1, 2**63, 2**64 - 1, 1.5, "", "\x00", "$nodes", "phx_join", "phx_leave",
    "phx_close", "phx_error", "heartbeat", "phoenix", "room:by", "ü" * 300, "x" * 5_000, [], {}, [[[[]]]],
    {"": {}}, [None] * 20,
)  # fmt: skip
"""Values that are well-formed but of the wrong type or range for most fields."""


class Mutator:
    """Makes the mutations of one seed.

    Attributes:
        rng: the source of randomness.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._mutations = (self._flip, self._delete, self._duplicate, self._insert, self._truncate)

    def __call__(self, data: bytes) -> bytes:
        """Return the bytes with one to four changes."""
        broken = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 1, 2, 4))):
            self.rng.choice(self._mutations)(broken)
        return bytes(broken)

    def odd(self, value: Any) -> Any:
        """Return the value with one part replaced, duplicated, dropped or moved; still well-formed."""
        rng = self.rng
        if isinstance(value, list) and value and rng.random() < 0.9:
            return self._odd_list(list(value))
        if isinstance(value, dict) and value and rng.random() < 0.7:
            key = rng.choice(list(value))
            return {**value, key: self.odd(value[key])}
        if isinstance(value, str) and value and rng.random() < 0.3:
            cut = rng.randrange(len(value) + 1)
            return value[:cut] + rng.choice(("", ":", "*", "\x00", "é")) + value[cut:]
        return rng.choice(ODD_VALUES)

    def field(self, message: list[Any]) -> list[Any]:
        """Return the message with one field replaced by an unusual value."""
        at = self.rng.randrange(len(message))
        return [*message[:at], self.odd(message[at]), *message[at + 1 :]]

    def _odd_list(self, values: list[Any]) -> list[Any]:
        rng = self.rng
        at = rng.randrange(len(values))
        choice = rng.random()
        if choice < 0.85:
            values[at] = self.odd(values[at])
        elif choice < 0.9:
            values.append(values[at])
        elif choice < 0.95:
            other = rng.randrange(len(values))
            values[at], values[other] = values[other], values[at]
        else:
            del values[at]
        return values

    def _at(self, data: bytearray) -> int:
        return self.rng.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)

    def _delete(self, data: bytearray) -> None:
        start = self._at(data)
        del data[start : start + self.rng.randrange(1, 9)]

    def _truncate(self, data: bytearray) -> None:
        del data[self._at(data) :]

    def _duplicate(self, data: bytearray) -> None:
        start = self._at(data)
        piece = data[start : start + self.rng.randrange(1, 17)]
        data[start:start] = piece * self.rng.choice((1, 2, 50))

    def _insert(self, data: bytearray) -> None:
        start = self._at(data)
        data[start:start] = self.rng.choice(PIECES)
