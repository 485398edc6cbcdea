"""What a node prints besides its log: its kind and addresses at the start, and why it cannot run.

With log.format json or logfmt, these are records too.
"""

import sys

from rich.console import Console
from rich.text import Text

from mesh.nodes.own_version import VERSION
from mesh.telemetry import output, records

_format = "console"
_node = "mesh"


def configure(format: str, node: str) -> None:
    """Set the format and the node's name for everything printed from now on."""
    global _format, _node
    _format, _node = format, node


def show(title: str, app_spec: str, rows: list[tuple[str, str]]) -> None:
    """Print to stderr: kind of node, version, application, the rows that have a value, and how to stop."""
    if _format in records.RECORD_FORMATS:
        values: dict[str, str | list[str]] = {}
        for name, value in rows:
            if value:
                values.setdefault(name, []).append(value)  # type: ignore[union-attr]
        fields = {name: each[0] if len(each) == 1 else list(each) for name, each in values.items()}
        fields = {"kind": title, "version": VERSION, **fields}
        _write("info", "started", **fields, **({"application": app_spec} if app_spec else {}))
        return
    lines = [Text.assemble(("channelmesh ", "bold"), VERSION, " · ", (title, "bold green"))]
    for name, value in [("application", app_spec), *rows]:
        if value:
            lines.append(Text.assemble((f"  {name:<12}", "dim"), (value, "cyan")))
    if sys.stderr.isatty():
        lines.append(Text("  Ctrl-C stops", "dim"))
    # One write: a reader of the first line gets the others, and no other process prints in between.
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text("\n").join(lines))


def info(sentence: str) -> None:
    """Print one line to stderr."""
    _print("info", sentence, "cyan")


def error(sentence: str) -> None:
    """Print an error to stderr, as one line."""
    _print("error", sentence, "red")


def _print(level: str, sentence: str, colour: str) -> None:
    if _format in records.RECORD_FORMATS:
        _write(level, sentence)
        return
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(f"mesh: {sentence}", style=colour)


def _write(level: str, event: str, **fields: object) -> None:
    line = records.encode(_format, records.record(event, _node, level, **fields))
    output.standard(2).write(line.encode("utf-8", "backslashreplace") + b"\n")
