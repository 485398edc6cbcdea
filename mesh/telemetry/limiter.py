"""Limits the number of similar log lines, so that lines that clients cause remain cheap. Pure.

Lines are similar if they have the same event, level and logger. Lines beyond the limit are counted, and
their number is reported once a second.
"""

from typing import NamedTuple

MAX_KINDS = 1_000
SECONDS = 1.0

Kind = tuple[str, str, str]
"""Logger, level and event: lines of one kind are similar."""


class LeftOut(NamedTuple):
    """The lines of one kind that were left out.

    Attributes:
        kind: the kind, as it was passed to `admit`.
        lines: the number of lines.
    """

    kind: Kind
    lines: int


class Limiter:
    """Limits the lines of each kind.

    Args:
        lines_per_second: the most lines of one kind per second; at least one.
    """

    def __init__(self, lines_per_second: int) -> None:
        self.lines_per_second = lines_per_second
        self._kinds: dict[Kind, list[float]] = {}  # start of the period, lines since then, lines left out

    def admit(self, kind: Kind, now: float, lines: int = 1) -> bool:
        """Return whether a line may be written, which counts as `lines`. One a second is always allowed."""
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

    def suppress(self, kind: Kind, now: float) -> bool:
        """Count a line as left out if `admit` would refuse it, and return whether it would."""
        seen = self._kinds.get(kind)
        if seen is None or now - seen[0] >= SECONDS or seen[1] < self.lines_per_second:
            return False
        seen[2] += 1
        return True

    def left_out(self) -> list[LeftOut]:
        """Return what was left out since the last call."""
        found = []
        for kind, seen in self._kinds.items():
            if seen[2]:
                found.append(LeftOut(kind, int(seen[2])))
                seen[2] = 0
        return found

    def _forget(self) -> None:
        """Remove kinds that have nothing to report; their next line is admitted as that of a new kind."""
        self._kinds = {kind: seen for kind, seen in self._kinds.items() if seen[2]}
