"""sys.stdout and sys.stderr of a node: everything that is printed goes through the writers of `output`.

That includes what the application prints, what its own log handlers write to these streams, warnings, and
the traceback of an uncaught exception. With JSON or logfmt each printed line becomes a record.
"""

import io
import os
import select
import sys
import threading
from collections.abc import Callable

from mesh.telemetry import output
from mesh.telemetry.output import Writer

MAX_PARTIAL_BYTES = 65_536
MAX_PIPE_BYTES = 65_536

Convert = Callable[[str], str | None]
"""Converts a printed line to the line that is written, or to None for no line."""

_raw: list["_Raw"] = []


class _Raw(io.RawIOBase):
    """A file whose content is queued for a writer."""

    def __init__(self, writer: Writer, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.convert: Convert | None = None
        self._writer = writer
        self._partial = b""

    def write(self, data: object) -> int:
        content = bytes(data)  # type: ignore[call-overload]
        if self.convert is None:
            self._writer.write(content)
            return len(content)
        *lines, self._partial = (self._partial + content).split(b"\n")
        for line in lines:
            self._convert(line)
        if len(self._partial) > MAX_PARTIAL_BYTES:
            self.end_line()
        return len(content)

    def end_line(self) -> None:
        """Treat what has been printed so far as a complete line."""
        partial, self._partial = self._partial, b""
        if partial:
            self._convert(partial)

    def _convert(self, line: bytes) -> None:
        convert = self.convert
        text = line.decode("utf-8", "replace")
        converted = text if convert is None else convert(text)
        if converted is not None:
            self._writer.write(converted.encode("utf-8", "replace") + b"\n")

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._writer.descriptor)


def install() -> None:
    """From now on, printing in this process neither blocks nor fails."""
    if _raw:
        return
    _open_closed_descriptors()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        if before is not None:
            try:
                before.flush()
            except (OSError, ValueError):
                pass
        raw = _Raw(output.standard(descriptor), descriptor)
        _raw.append(raw)
        encoding = getattr(before, "encoding", None) or "utf-8"
        stream = io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)  # type: ignore[type-var]
        setattr(sys, name, stream)
    output.before_exit.append(_end_lines)


def convert_lines(convert: Convert | None) -> None:
    """Convert printed lines with `convert` before they are written; None: write them unchanged."""
    for raw in _raw:
        raw.end_line()
        raw.convert = convert


class _Programs:
    """Reads what other programs and C code write to our descriptors, and queues it for stderr."""

    def __init__(self) -> None:
        self._reader, end = os.pipe()
        os.set_blocking(self._reader, False)
        for descriptor in (1, 2):
            output.standard(descriptor).descriptor = os.dup(descriptor)
            os.dup2(end, descriptor)
        os.close(end)
        self._lock = threading.Lock()
        self._raw = _Raw(output.standard(2), 2)
        self._raw.convert = _raw[-1].convert
        _raw.append(self._raw)
        output.before_exit.insert(0, self._read)
        threading.Thread(target=self._run, name="programs", daemon=True).start()

    def _run(self) -> None:
        output.block_signals()
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        while True:
            poll.poll()
            self._read()

    def _read(self) -> None:
        """Read what is there; not more than a pipe holds, so that it ends."""
        with self._lock:
            try:
                self._raw.write(os.read(self._reader, MAX_PIPE_BYTES))
            except BlockingIOError:
                pass


_programs: _Programs | None = None


def capture_programs() -> None:
    """From now on, convert also the lines that other programs and C code write to our stdout or stderr."""
    global _programs
    if _raw and _programs is None:
        _programs = _Programs()


def _end_lines() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    for raw in _raw:
        raw.end_line()


def _open_closed_descriptors() -> None:
    """Open closed standard descriptors, so that no socket gets their numbers and receives output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # uses the lowest free number
