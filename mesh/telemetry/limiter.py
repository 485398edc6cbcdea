"""How many similar lines a log takes, so that lines which clients cause stay cheap. Pure.

A kind of line is an event of one logger. What is beyond the limit is counted, and told once a second.
"""

from typing import NamedTuple

MAX_KINDS = 1_000
SECONDS = 1.0

Kind = tuple[str, str, str]
"""Logger, level and event: lines of one kind are similar."""


class LeftOut(NamedTuple):
    """What was left out of one kind.

    Attributes:
        kind: as it was given to `admit`.
        lines: how many.
    """

    kind: Kind
    lines: int


class Limiter:
    """Bounds the lines of each kind.

    Args:
        lines_per_second: of one kind; at least one.
    """

    def __init__(self, lines_per_second: int) -> None:
        self.lines_per_second = lines_per_second
        self._kinds: dict[Kind, list[float]] = {}  # since when, lines since then, left out

    def admit(self, kind: Kind, now: float, lines: int = 1) -> bool:
        """Whether one more may be written, which takes the place of `lines`. One a second always may."""
        seen = self._kinds.get(kind)
        if seen is None:
            if len(self._kinds) >= MAX_KINDS:
                self._forget()
            self._kinds[kind] = [now, lines, 0]
            return True
        if now - seen[0] >= SECONDS:
            seen[0], seen[1] = now, lines
            return True
        if seen[1] + lines <= self.lines_per_second:
            seen[1] += lines
            return True
        seen[2] += 1
        return False

    def full(self, kind: Kind, now: float) -> bool:
        """Whether `admit` would say no to one; if so it counts as left out."""
        seen = self._kinds.get(kind)
        if seen is None or now - seen[0] >= SECONDS or seen[1] < self.lines_per_second:
            return False
        seen[2] += 1
        return True

    def left_out(self) -> list[LeftOut]:
        """What was left out since this was last asked for."""
        found = []
        for kind, seen in self._kinds.items():
            if seen[2]:
                found.append(LeftOut(kind, int(seen[2])))
                seen[2] = 0
        return found

    def _forget(self) -> None:
        """Kinds that have nothing left to tell; all of them were new once, and are written then."""
        self._kinds = {kind: seen for kind, seen in self._kinds.items() if seen[2]}
