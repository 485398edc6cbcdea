"""Time-outs of connections that have to say something."""

import asyncio
from collections.abc import Callable

GRACE_SECONDS = 0.1
"""After this process stood still, what clients sent in time is read in turns that follow the timer's."""


class Deadline:
    """Calls a function after a time-out, GRACE_SECONDS late, so that what came in time is read first.

    `asyncio.timeout` would win against bytes that become readable in the same turn of the event loop.
    """

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._grace)

    def restart(self, seconds: float) -> None:
        """Begin the time-out again, with this length."""
        self.cancel()
        self._timer = self._loop.call_later(seconds, self._grace)

    def cancel(self) -> None:
        """Call it no more."""
        self._timer.cancel()

    def _grace(self) -> None:
        self._timer = self._loop.call_later(GRACE_SECONDS, self._over)
