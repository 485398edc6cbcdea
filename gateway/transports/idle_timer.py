"""Looking for silent clients every now and then."""

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls `look(now)` every `interval` seconds, with the time of the event loop.

    When this process itself stood still, what clients have said meanwhile is not read yet: that round is
    left out, so that nobody is taken for silent who is not.
    """

    def __init__(self, interval: float, look: Callable[[float], None]) -> None:
        self._interval = interval
        self._look = look
        self._left_out = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(interval, self._look_again)

    def cancel(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look_again(self) -> None:
        now = self._loop.time()
        late = now - self._timer.when() > self._interval
        self._left_out = late and not self._left_out
        self._timer = self._loop.call_later(self._interval, self._look_again)
        if not self._left_out:
            self._look(now)
