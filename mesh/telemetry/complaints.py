"""Log lines about peers that repeat the same mistake: few lines, but every mistake is counted."""

from mesh.telemetry.counters import counters
from mesh.telemetry.logs import Logger

MAX_KNOWN = 256
"""The number of peers that are counted separately; the mistakes of all others are counted together."""
NAME_CHARACTERS = 80
OTHERS = "(others)"


class Complaints:
    """Logs the first mistake of a peer, and the 10th, the 100th and so on.

    Args:
        log: the logger.
        line: the text of the line.
    """

    def __init__(self, log: Logger, line: str) -> None:
        self._log = log
        self._line = line
        self._times: dict[str, int] = {}

    def about(self, who: str, counter: str, reason: str, **fields: object) -> None:
        """Count a mistake of the node `who`; log it if a line is due."""
        counters.count(counter)
        name = who[:NAME_CHARACTERS]
        if name not in self._times and len(self._times) >= MAX_KNOWN:
            name = OTHERS
        times = self._times[name] = self._times.get(name, 0) + 1
        if str(times).rstrip("0") == "1":
            cut = {key: each[:200] if isinstance(each, str) else each for key, each in fields.items()}
            self._log.warning(self._line, origin=name, times=times, reason=reason[:300], **cut)
