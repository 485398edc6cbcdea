"""Tells a message that arrives for the first time from one that has arrived before. Pure.

A message keeps its (origin, sequence) when it is sent again through another proxy, so a receiver drops the
second copy. Time is an argument, in seconds of any one clock.
"""

REMEMBERED = 131_072
"""Messages of one origin after which the older half of what is remembered of it goes."""
REMEMBERED_SECONDS = 15.0
"""For how long they are remembered: well above the time after which a silent proxy is given up."""

REMEMBERED_ORIGINS_SECONDS = 3600.0
"""An origin of which nothing comes: after a cut it sends again what has come before it."""


class _Origin:
    """What has come of one origin."""

    __slots__ = ("floor", "older", "recent", "since")

    def __init__(self, now: float) -> None:
        self.recent: set[int] = set()
        self.older: set[int] = set()
        self.floor = 0
        self.since = now

    def has(self, sequence: int) -> bool:
        return sequence in self.recent or sequence in self.older or sequence <= self.floor

    def forget_older(self, now: float) -> None:
        if self.older:
            self.floor = max(self.floor, max(self.older))
        self.older, self.recent, self.since = self.recent, set(), now


class Duplicates:
    """Tells a message that comes for the first time from one that has come before."""

    def __init__(self) -> None:
        self._origins: dict[str, _Origin] = {}
        self._now = 0.0

    def is_new(self, origin: str, sequence: int) -> bool:
        """Whether the message has not come before; from now on it has."""
        of = self._origins.get(origin)
        if of is None:
            of = self._origins[origin] = _Origin(self._now)
        elif of.has(sequence):
            return False
        of.recent.add(sequence)
        if len(of.recent) > REMEMBERED:
            of.forget_older(self._now)
        return True

    def has(self, origin: str, sequence: int) -> bool:
        """Whether the message has come, or is so old that it will not be taken any more."""
        of = self._origins.get(origin)
        return of is not None and of.has(sequence)

    def tick(self, now: float) -> None:
        """Time passes: forget what nobody will send again, and origins of which nothing comes."""
        self._now = now
        for origin, of in list(self._origins.items()):
            if now - of.since > REMEMBERED_SECONDS:
                if of.recent or of.older:
                    of.forget_older(now)
                elif now - of.since > REMEMBERED_ORIGINS_SECONDS:
                    del self._origins[origin]
