"""The supervisor's output: each line of a child, prefixed with the child's name or as a record."""

import os
import re
import sys

from mesh.telemetry import output, records

_COLOURS = (36, 35, 32, 33, 34, 31)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class ChildLines:
    """Queues lines for stderr; never waits, never raises.

    Args:
        names: the names of all children.
        format: "console", "json" or "logfmt".
    """

    def __init__(self, names: list[str], format: str) -> None:
        self._format = format
        width = max(map(len, names), default=0)
        coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._coloured = coloured
        self._prefixes = {
            name: _colour(f"{name:<{width}} │ ", _COLOURS[number % len(_COLOURS)] if coloured else 0)
            for number, name in enumerate(names)
        }

    def write_line(self, name: str, line: str) -> None:
        """Write a line that a child has printed."""
        if self._format in records.RECORD_FORMATS:
            self._write(records.to_record(self._format, line, name))
        else:
            self._write(self._prefixes[name] + (line if self._coloured else _ANSI.sub("", line)))

    def write_event(self, name: str, sentence: str) -> None:
        """Write what has happened to a child."""
        if self._format in records.RECORD_FORMATS:
            self._write(records.encode(self._format, records.record(sentence, name)))
        else:
            self._write(self._prefixes[name] + sentence)

    def _write(self, line: str | None) -> None:
        if line is not None:
            output.standard(2).write(line.encode("utf-8", "backslashreplace") + b"\n")


def _colour(text: str, number: int) -> str:
    return f"\x1b[{number}m{text}\x1b[0m" if number else text
