"""The version of a protocol that two sides use: the highest that both support. Pure."""

from collections.abc import Iterable
from typing import NamedTuple


class Versions(NamedTuple):
    """The versions that one side supports: all from `oldest` to `newest`."""

    oldest: int
    newest: int

    def __str__(self) -> str:
        """Return the versions for a log line: `1`, or `1 to 3`."""
        return str(self.newest) if self.oldest == self.newest else f"{self.oldest} to {self.newest}"


def common(sides: Iterable[Versions]) -> int | None:
    """Return the highest version that all sides support; None if there is none."""
    sides = list(sides)
    newest = min(each.newest for each in sides)
    return newest if newest >= max(each.oldest for each in sides) else None
