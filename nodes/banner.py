"""What a node says when it is up: what it is, and its addresses."""

import sys
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.text import Text


def show(title: str, app_spec: str, rows: list[tuple[str, str]]) -> None:
    """Print to stderr: kind of node and version, the application, addresses, how to stop."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("channelmesh ", "bold"), own_version(), " · ", (title, "bold green")))
    for name, value in [("application", app_spec), *rows]:
        if value:
            console.print(Text.assemble((f"  {name:<12}", "dim"), (value, "cyan")))
    if sys.stderr.isatty():
        console.print(Text("  Ctrl-C stops", "dim"))


def say(sentence: str) -> None:
    """Print one line to stderr."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(
        f"mesh: {sentence}", style="cyan"
    )


def own_version() -> str:
    """The installed version, or "unknown" when run from a tree that is not installed."""
    try:
        return version("channelmesh")
    except PackageNotFoundError:
        return "unknown"
