"""`mesh serve --reload`: restarts the command whenever a Python file changes. For development."""

import contextlib
import logging
import os
import shlex
import signal
import sys
from pathlib import Path

from watchfiles import PythonFilter, run_process
from watchfiles.main import FileChange

from mesh.nodes.banner import info
from mesh.nodes.runtime.signals import SUPERVISED

STOP_SECONDS = 5


def run(arguments: list[str], directory: Path) -> None:
    """Run `mesh` with these arguments, and restart it after each change under `directory`, until Ctrl-C.

    A process that ended by itself, because the application cannot be imported, is started again after the
    next change. Clients are closed with 1012 and reconnect automatically. A second signal ends both
    processes at once.
    """
    command = shlex.join([sys.executable, "-m", "mesh", *arguments])
    os.environ[SUPERVISED] = str(os.getpid())  # it ends with us
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    # It warns that Ctrl-C and SIGTERM stop it; the node already logs that it stops.
    logging.getLogger("watchfiles").setLevel(logging.ERROR)
    with contextlib.suppress(KeyboardInterrupt):
        run_process(
            directory,
            target=command,
            target_type="command",
            watch_filter=PythonFilter(ignore_paths=[directory / ".venv"]),
            callback=lambda changes: _report_changes(changes, directory),
            sigint_timeout=STOP_SECONDS,
        )


def _report_changes(changes: set[FileChange], directory: Path) -> None:
    names = sorted({str(Path(path).relative_to(directory)) for _, path in changes})
    info(f"changed: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}; restarting")
