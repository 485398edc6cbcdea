"""Which broadcasts of a topic were recorded, by publisher. Pure.

Nearly always a publisher's numbers rise. A message that its publisher has sent again, because a proxy may
have lost it, can come after later ones, and must still be recorded. So the last numbers of each publisher
are remembered; an older one counts as recorded.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

MAX_ORIGINS = 256
"""The most publishers of one topic whose messages are remembered. A worker drops what it has received twice
before it gets here, so a forgotten publisher causes a double only if its topic is handed over in the same
moment. Who has published least recently is forgotten first."""
MAX_NUMBERS = 256
"""The most numbers of one publisher; beyond it, the older half is forgotten."""
ORIGIN_BYTES = 250
"""The memory of a publisher without its numbers."""
NUMBER_BYTES = 8


class Seen:
    """The numbers of the broadcasts of one topic that were recorded.

    Attributes:
        memory: the memory that they need, in bytes, estimated.
    """

    __slots__ = ("_origins", "memory")

    def __init__(self, given: Mapping[str, Sequence[int]] | None = None) -> None:
        self.memory = 0
        self._origins: dict[str, array[int]] = {}  # the first number: it and all lower ones count as seen
        self.merge(given or {})

    def has(self, origin: str, sequence: int) -> bool:
        """Return whether a broadcast was recorded, or is too old to tell."""
        numbers = self._origins.get(origin)
        if numbers is None or sequence > numbers[-1]:
            return False
        return sequence <= numbers[0] or numbers[bisect_left(numbers, sequence)] == sequence

    def note(self, origin: str, sequence: int) -> None:
        """A broadcast was recorded."""
        numbers = self._origins.pop(origin, None)
        if numbers is None:
            if len(self._origins) >= MAX_ORIGINS:
                self._drop(next(iter(self._origins)))
            numbers = array("Q", (0, sequence))
            self.memory += ORIGIN_BYTES + 2 * NUMBER_BYTES
        elif sequence > numbers[-1]:
            numbers.append(sequence)
            self.memory += NUMBER_BYTES
        elif sequence > numbers[0] and numbers[bisect_left(numbers, sequence)] != sequence:
            insort(numbers, sequence)
            self.memory += NUMBER_BYTES
        self._origins[origin] = numbers
        if len(numbers) > MAX_NUMBERS:
            self._shorten(numbers, MAX_NUMBERS // 2)

    def forget(self, origin: str, sequence: int) -> None:
        """A broadcast counts as recorded no longer, unless that was long ago."""
        numbers = self._origins.get(origin)
        if numbers is not None and sequence > numbers[0] and self.has(origin, sequence):
            numbers.remove(sequence)
            self.memory -= NUMBER_BYTES

    def given(self) -> dict[str, list[int]]:
        """Return all of it for another worker; who has published most recently comes last."""
        return {origin: list(numbers) for origin, numbers in self._origins.items()}

    def merge(self, given: Mapping[str, Sequence[int]]) -> None:
        """Add what another worker knows."""
        for origin, (floor, *numbers) in given.items():
            for number in numbers or ([floor] if floor else []):
                self.note(origin, number)
            known = self._origins.get(origin)
            if known is not None and floor > known[0]:
                self._shorten(known, bisect_left(known, floor + 1))
                known[0] = floor

    def _shorten(self, numbers: "array[int]", count: int) -> None:
        """Forget the first numbers, so that all up to the last of them count as seen."""
        del numbers[: count - 1]
        self.memory -= (count - 1) * NUMBER_BYTES

    def _drop(self, origin: str) -> None:
        self.memory -= ORIGIN_BYTES + len(self._origins.pop(origin)) * NUMBER_BYTES
