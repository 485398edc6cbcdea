"""Detects workers whose address this gateway cannot reach, and logs each once, not at each announcement."""

from mesh.link.reach import why_unreachable
from mesh.telemetry import get_logger

log = get_logger(__name__)

MAX_REMEMBERED = 1_000


class UnreachableWorkers:
    """Remembers which workers have been logged, and why they cannot be reached."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    def is_unreachable(self, worker: str, address: str, machine: str | None) -> bool:
        """Return whether a worker cannot be reached; log the reason when it changes."""
        reason = why_unreachable(address, machine)
        if reason is None:
            self._logged.pop(worker, None)
            return False
        if self._logged.get(worker) != reason:
            if len(self._logged) >= MAX_REMEMBERED:
                self._logged.clear()
            self._logged[worker] = reason
            log.error("worker cannot be reached: it is sent no joins", worker=worker, reason=reason)
        return True
