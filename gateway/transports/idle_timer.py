"""Looks for silent clients at regular intervals."""

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls `look(now)` every `interval` seconds, with the time of the event loop.

    While this process itself stood still, nothing that clients sent was read. So the look after that is
    left out: otherwise clients would be taken for silent that are not.
    """

    def __init__(self, interval: float, look: Callable[[float], None]) -> None:
        self._interval = interval
        self._look = look
        self._left_out = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(interval, self._elapsed)

    def cancel(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _elapsed(self) -> None:
        now = self._loop.time()
        late = now - self._timer.when() > self._interval
        self._left_out = late and not self._left_out
        self._timer = self._loop.call_later(self._interval, self._elapsed)
        if not self._left_out:
            self._look(now)
