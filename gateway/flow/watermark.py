"""Tells when what waits for one client passes a mark, and when it has fallen to half of it. Pure."""

from collections.abc import Callable


class HighWatermark:
    """Looked at by an outbox when its client does not take everything at once; None there costs nothing.

    Args:
        high: bytes.
        tell: called with whether more than that waits, when it changes.
    """

    __slots__ = ("_high", "_tell", "over")

    def __init__(self, high: int, tell: Callable[[bool], None]) -> None:
        self.over = False
        self._high = high
        self._tell = tell

    def look(self, unsent_bytes: int) -> None:
        """So much waits now."""
        if self.over:
            if unsent_bytes <= self._high // 2:
                self.over = False
                self._tell(False)
        elif unsent_bytes > self._high:
            self.over = True
            self._tell(True)
