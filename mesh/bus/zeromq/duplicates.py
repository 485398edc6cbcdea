"""Distinguishes new messages from messages that have arrived before. Pure.

A publisher that loses a proxy sends its latest messages again through another one, with their old (origin,
sequence). A receiver may have had them through the first proxy, so it remembers the numbers and drops the
second copy.

**What is bounded.** The numbers of one origin are kept in two generations, `recent` and `older`. After
REMEMBERED_SECONDS or MAX_REMEMBERED numbers the older generation is discarded and replaced by its highest
number, the `floor`. From then on every number up to the floor counts as having arrived. So a message that
is this late is dropped even if it has never arrived; by then publishers have stopped sending it again.
The same happens earlier if more than MAX_NUMBERS numbers of all origins are kept.

At most MAX_ORIGINS origins are known: several times the nodes of a large mesh, with those that they have
replaced within the last hour. Above this, the origins of which least has come lately are forgotten, those
that are silent for longest first. Only a message that one of these sends again could then arrive twice.

Time is an argument, in seconds of any one clock.
"""

from heapq import nsmallest

MAX_REMEMBERED = 131_072
"""The most numbers in one generation of one origin."""
REMEMBERED_SECONDS = 15.0
"""The length of a generation: well above the time after which a silent proxy is given up."""

MAX_NUMBERS = 4_000_000
"""The most numbers of all origins, some 400 MB: in 30 seconds a node handles fewer messages."""
MAX_ORIGINS = 10_000
"""The most origins."""
FORGOTTEN_AT_ONCE = MAX_ORIGINS // 8
"""How many origins are forgotten when there are too many, so that the search for them is rare."""

REMEMBERED_ORIGINS_SECONDS = 3600.0
"""How long the floor of a silent origin is kept: after a network failure it sends old messages again."""


class _Origin:
    """The numbers of one origin."""

    __slots__ = ("floor", "older", "recent", "since")

    def __init__(self, now: float) -> None:
        self.recent: set[int] = set()
        self.older: set[int] = set()
        self.floor = 0
        self.since = now

    def has(self, sequence: int) -> bool:
        return sequence in self.recent or sequence in self.older or sequence <= self.floor

    @property
    def count(self) -> int:
        return len(self.recent) + len(self.older)

    def forget_older(self, now: float) -> int:
        """Begin a generation; return how many numbers were forgotten."""
        forgotten = len(self.older)
        if self.older:
            self.floor = max(self.floor, max(self.older))
        self.older, self.recent, self.since = self.recent, set(), now
        return forgotten


class Duplicates:
    """The numbers of all origins.

    Attributes:
        origins_forgotten: how many origins were forgotten because there were more than MAX_ORIGINS.
    """

    def __init__(self) -> None:
        self.origins_forgotten = 0
        self._origins: dict[str, _Origin] = {}
        self._numbers = 0
        self._now = 0.0

    def is_new(self, origin: str, sequence: int) -> bool:
        """Return whether the message is new, and remember it."""
        numbers = self._origins.get(origin)
        if numbers is None:
            if len(self._origins) >= MAX_ORIGINS:
                self._forget_origins()
            numbers = self._origins[origin] = _Origin(self._now)
        elif numbers.has(sequence):
            return False
        numbers.recent.add(sequence)
        self._numbers += 1
        if len(numbers.recent) > MAX_REMEMBERED:
            self._numbers -= numbers.forget_older(self._now)
        if self._numbers > MAX_NUMBERS:
            self._forget_numbers()
        return True

    def _forget_numbers(self) -> None:
        while self._numbers > MAX_NUMBERS // 2:  # twice at most: then no generation is left
            for numbers in self._origins.values():
                if numbers.count:  # otherwise it only remembers since when its origin is silent
                    self._numbers -= numbers.forget_older(self._now)

    def _forget_origins(self) -> None:
        def lately(origin: str) -> tuple[int, float]:
            numbers = self._origins[origin]
            return numbers.count, numbers.since

        for origin in nsmallest(FORGOTTEN_AT_ONCE, self._origins, key=lately):
            self._numbers -= self._origins.pop(origin).count
            self.origins_forgotten += 1

    def has(self, origin: str, sequence: int) -> bool:
        """Return whether the message has arrived, or is too old to be accepted."""
        numbers = self._origins.get(origin)
        return numbers is not None and numbers.has(sequence)

    def tick(self, now: float) -> None:
        """Discard old generations, and origins that have been silent for long."""
        self._now = now
        for origin, numbers in list(self._origins.items()):
            if now - numbers.since > REMEMBERED_SECONDS:
                if numbers.recent or numbers.older:
                    self._numbers -= numbers.forget_older(now)
                elif now - numbers.since > REMEMBERED_ORIGINS_SECONDS:
                    del self._origins[origin]
