"""Leaves out similar lines beyond a rate, and reports their number once a second."""

import threading
import time

from mesh.telemetry.counters import counters
from mesh.telemetry.limiter import SECONDS, Kind, Limiter
from mesh.telemetry.logs import Sink


class SimilarLines:
    """The gate of a node's log.

    Args:
        lines_per_second: the most lines of one kind per second.
        sink: logs the line that reports how many were left out.
    """

    def __init__(self, lines_per_second: int, sink: Sink) -> None:
        self._limiter = Limiter(lines_per_second)
        self._sink = sink
        self._lock = threading.RLock()  # a signal handler may log while its thread does
        self._timer: threading.Timer | None = None

    def admit(self, kind: Kind, lines: int) -> bool:
        """Return whether a line that counts as `lines` is written."""
        with self._lock:
            admitted = self._limiter.admit(kind, time.monotonic(), lines)
            if not admitted:
                self._count()
        return admitted

    def suppress(self, kind: Kind) -> bool:
        """Count a line as left out if `admit` would refuse it, and return whether it would."""
        with self._lock:
            suppressed = self._limiter.suppress(kind, time.monotonic())
            if suppressed:
                self._count()
        return suppressed

    def _count(self) -> None:
        """Report within a second, in another thread, because no further line may come."""
        counters.count("log_lines_left_out")
        if self._timer is None:
            self._timer = threading.Timer(SECONDS, self.report_left_out)
            self._timer.daemon = True
            try:
                self._timer.start()
            except RuntimeError:  # no more threads available: the next line tries again
                self._timer = None

    def report_left_out(self) -> None:
        """Log how many lines were left out."""
        with self._lock:
            self._timer = None
            found = self._limiter.left_out()
        for (name, level, event), lines in found:
            self._sink(name, level, "similar lines left out", {"like": event, "lines": lines})
