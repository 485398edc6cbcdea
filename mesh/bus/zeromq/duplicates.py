"""Distinguishes new messages from messages that have arrived before. Pure.

A publisher that loses a proxy sends its latest messages again through another one, with their old (origin,
sequence). A receiver may have had them through the first proxy, so it remembers the numbers and drops the
second copy.

**What is bounded.** The numbers of one origin are kept in two generations, `recent` and `older`. After
REMEMBERED_SECONDS or MAX_REMEMBERED numbers the older generation is discarded and replaced by its highest
number, the `floor`. From then on every number up to the floor counts as having arrived. So a message that
is this late is dropped even if it has never arrived; by then publishers have stopped sending it again.

Time is an argument, in seconds of any one clock.
"""

MAX_REMEMBERED = 131_072
"""The most numbers in one generation of one origin."""
REMEMBERED_SECONDS = 15.0
"""The length of a generation: well above the time after which a silent proxy is given up."""

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

    def forget_older(self, now: float) -> None:
        if self.older:
            self.floor = max(self.floor, max(self.older))
        self.older, self.recent, self.since = self.recent, set(), now


class Duplicates:
    """The numbers of all origins."""

    def __init__(self) -> None:
        self._origins: dict[str, _Origin] = {}
        self._now = 0.0

    def is_new(self, origin: str, sequence: int) -> bool:
        """Return whether the message is new, and remember it."""
        numbers = self._origins.get(origin)
        if numbers is None:
            numbers = self._origins[origin] = _Origin(self._now)
        elif numbers.has(sequence):
            return False
        numbers.recent.add(sequence)
        if len(numbers.recent) > MAX_REMEMBERED:
            numbers.forget_older(self._now)
        return True

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
                    numbers.forget_older(now)
                elif now - numbers.since > REMEMBERED_ORIGINS_SECONDS:
                    del self._origins[origin]
