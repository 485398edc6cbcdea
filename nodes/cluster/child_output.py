"""Reads the output of a child process and splits it into lines.

A full pipe would block the child, so it is read even while our own output is blocked. A process that the
child has started may keep the pipe open after the child's end, so it is read until the next start.
"""

import asyncio
import os
from collections.abc import Callable

LINE_BYTES = 65_536
READ_BYTES = 65_536
MAX_DRAIN_BYTES = 4_000_000
"""The most bytes read at once when the child has ended."""


class Lines:
    """Splits a stream of bytes into lines of limited length. Pure."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._partial = b""
        self._cut_bytes = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that end in `data`. A line beyond the limit is cut, with a note of how much."""
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            self._add(piece)
            lines.append(self._take())
        self._add(rest)
        return lines

    def end(self) -> list[str]:
        """Return the last line, if it has no line end."""
        return [self._take()] if self._partial or self._cut_bytes else []

    def _add(self, piece: bytes) -> None:
        room = max(self._limit - len(self._partial), 0)
        self._partial += piece[:room]
        self._cut_bytes += len(piece) - len(piece[:room])

    def _take(self) -> str:
        text = self._partial.decode("utf-8", "replace").rstrip("\r")
        if self._cut_bytes:
            text += f"… ({self._cut_bytes} more bytes)"
        self._partial, self._cut_bytes = b"", 0
        return text


class ChildOutput:
    """The pipe of one process.

    Args:
        on_line: called with each line.

    Attributes:
        writer: the child's end of the pipe; `close_writer` closes it here.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._lines = Lines()
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reader, self._readable)
        self._open = True

    def close_writer(self) -> None:
        """Close our copy of the child's end, once the child was started or failed to start."""
        os.close(self.writer)

    def drain(self) -> None:
        """Pass on what the child has printed, before anything else is said about it."""
        left = MAX_DRAIN_BYTES
        while self._open and left > 0 and (read := self._readable()):
            left -= read

    def close(self) -> None:
        """Stop reading."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._emit(self._lines.end())

    def _readable(self) -> int:
        try:
            data = os.read(self._reader, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            self._emit(self._lines.feed(data))
        else:
            self.close()
        return len(data)

    def _emit(self, lines: list[str]) -> None:
        for line in lines:
            self._on_line(line)
