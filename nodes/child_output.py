"""What a child process prints: read as it comes, even if it cannot be passed on, and cut into lines.

A pipe that nobody reads would stop the child, so it is read even while our own output is blocked. A process
that the child has started may hold the pipe open after the child's end: it is read on until the next start.
"""

import asyncio
import os
from collections.abc import Callable

LINE_BYTES = 65_536
READ_BYTES = 65_536
LAST_BYTES = 4_000_000
"""That are read at once when the child has ended."""


class Lines:
    """Cuts a stream of bytes into lines of a bounded length. Pure."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._partial = b""
        self._cut = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that end in `data`. What is beyond the limit is left out, and the line says so."""
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            self._add(piece)
            lines.append(self._take())
        self._add(rest)
        return lines

    def end(self) -> list[str]:
        """The last line, whose end has not come."""
        return [self._take()] if self._partial or self._cut else []

    def _add(self, piece: bytes) -> None:
        room = max(self._limit - len(self._partial), 0)
        self._partial += piece[:room]
        self._cut += len(piece) - len(piece[:room])

    def _take(self) -> str:
        text = self._partial.decode("utf-8", "replace").rstrip("\r")
        if self._cut:
            text += f"… ({self._cut} more bytes)"
        self._partial, self._cut = b"", 0
        return text


class ChildOutput:
    """The pipe of one process.

    Args:
        say: called with each line.

    Attributes:
        writer: the end for the child, to be closed by `started`.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lines = Lines()
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reader, self._readable)
        self._open = True

    def started(self) -> None:
        """The child has its end, or could not be started."""
        os.close(self.writer)

    def ended(self) -> None:
        """The child is gone: say what it has printed, before what comes next."""
        left = LAST_BYTES
        while self._open and left > 0 and (read := self._readable()):
            left -= read

    def close(self) -> None:
        """Read no more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._tell(self._lines.end())

    def _readable(self) -> int:
        try:
            data = os.read(self._reader, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            self._tell(self._lines.feed(data))
        else:
            self.close()
        return len(data)

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self._say(line)
