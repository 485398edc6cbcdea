"""A timer that looks for silent clients at regular intervals."""

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls `check(now)` every `interval` seconds, with the time of the event loop.

    The first call after a stall of this process is skipped: what clients sent during the stall has not been
    read yet, so they would wrongly count as silent.
    """

    def __init__(self, interval: float, check: Callable[[float], None]) -> None:
        self._interval = interval
        self._check = check
        self._skipped = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(interval, self._elapsed)

    def cancel(self) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def _elapsed(self) -> None:
        now = self._loop.time()
        stalled = now - self._timer.when() > self._interval
        self._skipped = stalled and not self._skipped
        self._timer = self._loop.call_later(self._interval, self._elapsed)
        if not self._skipped:
            self._check(now)
