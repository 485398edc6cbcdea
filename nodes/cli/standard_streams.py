"""stdout and stderr of a command that runs once: what happens if they cannot be written.

If stdout cannot be written, e.g. because the disk is full, the command ends with one sentence and exit code
1; if its reader has gone (`| head -1`), without a sentence. What cannot be written to stderr is lost. Nodes
replace these streams (mesh/telemetry/streams.py): their output may be lost, and they continue.
"""

import io
import os
import sys
from collections.abc import Callable

Failed = Callable[[OSError], None]


def install() -> None:
    """Use these streams for everything that this process prints."""
    sys.stdout = _replace(sys.stdout, _end)
    sys.stderr = _replace(sys.stderr, _ignore)


class _Raw(io.RawIOBase):
    """A file descriptor; after the first failure everything written to it is lost."""

    def __init__(self, descriptor: int, failed: Failed) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._on_failure = failed
        self._failed = False

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if self._failed:
            return len(view)
        try:
            return _write(self._descriptor, view)
        except OSError as error:
            self._failed = True
            self._on_failure(error)
            return len(view)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


def _write(descriptor: int, view: memoryview) -> int:
    while True:
        try:
            return os.write(descriptor, view)
        except BlockingIOError:  # a process that shares the descriptor made it non-blocking
            from mesh.telemetry import output  # rarely needed, and slow to import

            output.wait_writable(descriptor)


def _replace(stream: object, failed: Failed) -> io.TextIOWrapper | None:
    if not isinstance(stream, io.TextIOWrapper):
        return None  # closed when the process started
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Raw(stream.fileno(), failed)),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _end(error: OSError) -> None:
    """End the command, also if a callback of the event loop prints: SystemExit passes through it."""
    if not isinstance(error, BrokenPipeError):
        from mesh.nodes import banner

        banner.error(f"cannot write to stdout: {error.strerror or error}")
    raise SystemExit(1)


def _ignore(error: OSError) -> None:
    """Nobody can be told."""
