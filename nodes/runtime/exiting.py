"""Ends a process that has done its work, even if code of the application still runs.

Python waits at its end for threads, and asyncio for `asyncio.to_thread` and for tasks that ignore their
cancellation. One that never ends would keep a stopped node alive.
"""

import os
import threading
import time

from mesh.nodes.runtime import ownership
from mesh.telemetry import get_logger, output

log = get_logger(__name__)

LAST_SECONDS = 5.0
"""How long such code may continue to run."""


def end_soon(exit_code: int) -> None:
    """End this process with this exit code after LAST_SECONDS, unless it has ended by then."""
    if not ownership.claimed():
        return
    try:
        threading.Thread(target=_end, args=(exit_code,), name="exit", daemon=True).start()
    except RuntimeError:
        pass  # no more threads: the second signal, or the supervisor, ends the process


def threads() -> list[str]:
    """Return the names of the threads for which Python waits at its end."""
    main = threading.main_thread()
    return [each.name for each in threading.enumerate() if each is not main and not each.daemon]


def _end(exit_code: int) -> None:
    time.sleep(LAST_SECONDS)
    log.warning("code of the application still runs: the process is ended", threads=threads())
    output.flush()
    os._exit(exit_code)
