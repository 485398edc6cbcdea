"""Reports when one client's unsent bytes exceed a threshold, and when they fall to half of it. Pure."""

from collections.abc import Callable


class HighWatermark:
    """A threshold that an outbox checks while its client is behind.

    Args:
        high: the threshold, in bytes.
        on_change: called with True when it is exceeded, and with False when half of it is left.
    """

    __slots__ = ("_high", "_on_change", "over")

    def __init__(self, high: int, on_change: Callable[[bool], None]) -> None:
        self.over = False
        self._high = high
        self._on_change = on_change

    def update(self, unsent_bytes: int) -> None:
        """Compare the bytes that wait now with the threshold."""
        if self.over:
            if unsent_bytes <= self._high // 2:
                self.over = False
                self._on_change(False)
        elif unsent_bytes > self._high:
            self.over = True
            self._on_change(True)
