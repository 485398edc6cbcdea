"""Leaves out similar lines beyond a rate, and says once a second how many."""

import threading
import time

from mesh.telemetry.counters import counters
from mesh.telemetry.limiter import SECONDS, Kind, Limiter
from mesh.telemetry.logs import Sink


class SimilarLines:
    """The gate of a node's log.

    Args:
        lines_per_second: of one kind.
        sink: what the line that says how many were left out is logged with.
    """

    def __init__(self, lines_per_second: int, sink: Sink) -> None:
        self._limiter = Limiter(lines_per_second)
        self._sink = sink
        self._lock = threading.RLock()  # a signal handler may log while its thread does
        self._timer: threading.Timer | None = None

    def admit(self, kind: Kind, lines: int) -> bool:
        """Whether a line that takes the place of `lines` is written."""
        with self._lock:
            admitted = self._limiter.admit(kind, time.monotonic(), lines)
            if not admitted:
                self._count()
        return admitted

    def full(self, kind: Kind) -> bool:
        """Whether one more is left out; if so it has been counted."""
        with self._lock:
            full = self._limiter.full(kind, time.monotonic())
            if full:
                self._count()
        return full

    def _count(self) -> None:
        """Say so within a second, in another thread: the flood may end at once."""
        counters.count("log_lines_left_out")
        if self._timer is None:
            self._timer = threading.Timer(SECONDS, self.tell)
            self._timer.daemon = True
            try:
                self._timer.start()
            except RuntimeError:  # no more threads: another line will try again
                self._timer = None

    def tell(self) -> None:
        """Log how many were left out."""
        with self._lock:
            self._timer = None
            found = self._limiter.left_out()
        for (name, level, event), lines in found:
            self._sink(name, level, "similar lines left out", {"like": event, "lines": lines})
