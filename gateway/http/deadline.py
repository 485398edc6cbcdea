"""Time-outs for connections that are expected to send something."""

import asyncio
from collections.abc import Callable

GRACE_SECONDS = 0.1
"""After a stall of this process, what clients sent in time is read only after the timer has fired."""


class Deadline:
    """Calls a function after some seconds, plus a grace period for reading what arrived before.

    `asyncio.timeout` would win against bytes that become readable in the same turn of the event loop.
    """

    def __init__(self, seconds: float, on_expired: Callable[[], None]) -> None:
        self._on_expired = on_expired
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._start_grace)

    def restart(self, seconds: float) -> None:
        """Start again: call the function after this many seconds from now."""
        self.cancel()
        self._timer = self._loop.call_later(seconds, self._start_grace)

    def cancel(self) -> None:
        """Do not call the function."""
        self._timer.cancel()

    def _start_grace(self) -> None:
        self._timer = self._loop.call_later(GRACE_SECONDS, self._on_expired)
