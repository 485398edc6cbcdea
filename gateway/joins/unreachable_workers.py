"""Workers that listen where this gateway cannot reach them: logged once, not at each announcement."""

from mesh.link.reach import why_unreachable
from mesh.telemetry import get_logger

log = get_logger("gateway.workers")

REMEMBERED = 1_000


class UnreachableWorkers:
    """Remembers what was said of which worker."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def is_so(self, worker: str, address: str, machine: str | None) -> bool:
        """Whether a worker cannot be reached; logged when that changes."""
        reason = why_unreachable(address, machine)
        if reason is None:
            self._said.pop(worker, None)
            return False
        if self._said.get(worker) != reason:
            if len(self._said) >= REMEMBERED:
                self._said.clear()
            self._said[worker] = reason
            log.error("worker cannot be reached: no channel goes there", worker=worker, reason=reason)
        return True
