"""Lines about those who do the same thing wrong again and again: few, and counted besides."""

from mesh.telemetry.counters import counters
from mesh.telemetry.logs import Logger

MAX_KNOWN = 256
"""Those of whom we keep count apart; what the others do wrong is counted together."""
NAME_CHARACTERS = 80
OTHERS = "(others)"


class Complaints:
    """Writes a line about the first mistake of somebody, and about the 10th, the 100th and so on.

    Args:
        log: where the lines go.
        line: what they say.
    """

    def __init__(self, log: Logger, line: str) -> None:
        self._log = log
        self._line = line
        self._times: dict[str, int] = {}

    def about(self, who: str, counter: str, reason: str, **fields: object) -> None:
        """Count a mistake of `who`, a node; log it if it is time for that."""
        counters.count(counter)
        name = who[:NAME_CHARACTERS]
        if name not in self._times and len(self._times) >= MAX_KNOWN:
            name = OTHERS
        times = self._times[name] = self._times.get(name, 0) + 1
        if str(times).rstrip("0") == "1":
            cut = {key: each[:200] if isinstance(each, str) else each for key, each in fields.items()}
            self._log.warning(self._line, origin=name, times=times, reason=reason[:300], **cut)
