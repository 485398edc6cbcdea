"""A token bucket: so much a second, with bursts. Pure: time is an argument, in seconds of any one clock."""


class TokenBucket:
    """Full at first; every second adds `per_second`, up to `burst`."""

    __slots__ = ("_burst", "_level", "_per_second", "_then")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = self._level = burst
        self._then = now

    def take(self, amount: float, now: float) -> float:
        """Take so much if it is there; returns 0, or the seconds after which it will be.

        What is more than a whole burst waits for a full bucket and leaves it in debt.
        """
        self._level = min(self._burst, self._level + (now - self._then) * self._per_second)
        self._then = now
        wanted = min(amount, self._burst)
        if self._level < wanted:
            return (wanted - self._level) / self._per_second
        self._level -= amount
        return 0.0
