"""A token bucket: a rate per second, with bursts. Pure: time is an argument, in seconds of any clock."""


class TokenBucket:
    """A bucket that starts full; each second adds `per_second` tokens, up to `burst`."""

    __slots__ = ("_burst", "_level", "_per_second", "_updated_at")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = self._level = burst
        self._updated_at = now

    def take(self, amount: float, now: float) -> float:
        """Take `amount` tokens and return 0, or take none and return the seconds until there are enough.

        An amount above `burst` waits for a full bucket and leaves it in debt.
        """
        self._level = min(self._burst, self._level + (now - self._updated_at) * self._per_second)
        self._updated_at = now
        wanted = min(amount, self._burst)
        if self._level < wanted:
            return (wanted - self._level) / self._per_second
        self._level -= amount
        return 0.0
