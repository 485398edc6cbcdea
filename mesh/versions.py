"""Which version of a wire two sides speak: the highest that both do. Pure."""

from collections.abc import Iterable
from typing import NamedTuple


class Versions(NamedTuple):
    """Those that one side speaks, all from `oldest` to `newest`."""

    oldest: int
    newest: int

    def __str__(self) -> str:
        """As in a log: `1`, or `1 to 3`."""
        return str(self.newest) if self.oldest == self.newest else f"{self.oldest} to {self.newest}"


def common(sides: Iterable[Versions]) -> int | None:
    """The highest version that all of them speak; None if there is none."""
    sides = list(sides)
    newest = min(each.newest for each in sides)
    return newest if newest >= max(each.oldest for each in sides) else None
