"""Runs `mesh …`; imports only the module of the given command."""

import sys
import threading
from collections.abc import Iterable
from importlib import import_module

import typer

from mesh.errors import ClientError, HistoryUnavailableError, MeshError, NodeError, UnreachableError
from mesh.nodes.cli import standard_streams
from mesh.nodes.runtime import ownership
from mesh.nodes.runtime.signals import StoppedError

COMMANDS = {
    "serve": "mesh.nodes.cli.nodes",
    "gateway": "mesh.nodes.cli.nodes",
    "worker": "mesh.nodes.cli.nodes",
    "proxy": "mesh.nodes.cli.nodes",
    "cluster": "mesh.nodes.cli.nodes",
    "routes": "mesh.nodes.cli.application",
    "settings": "mesh.nodes.cli.application",
    "tail": "mesh.nodes.cli.bus",
    "broadcast": "mesh.nodes.cli.bus",
    "nodes": "mesh.nodes.cli.bus",
    "history": "mesh.nodes.cli.history",
    "topics": "mesh.nodes.cli.topics",
    "trace": "mesh.nodes.cli.trace",
    "wait": "mesh.nodes.cli.wait",
    "join": "mesh.nodes.cli.client",
    "push": "mesh.nodes.cli.client",
    "new": "mesh.nodes.cli.generators",
    "version": "mesh.nodes.cli.version",
    "gen": "mesh.nodes.cli.generators",
    "keys": "mesh.nodes.cli.keys",
}
"""The module of each command, in the order of the help; it has a function or group of that name."""


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands; by default with all."""
    app = typer.Typer(
        name="mesh",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        help="Phoenix Channels for Python, on a ZeroMQ mesh.",
        epilog="Start with: [bold]mesh serve examples.chat:endpoint --port 4000[/bold]. "
        "Every setting: [bold]mesh settings[/bold].",
    )
    app.callback()(_group)
    for name in names:
        command = getattr(import_module(COMMANDS[name]), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _group() -> None:
    """Typer makes a single command the whole program, unless there is a function of the group."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors become readable lines and an exit code.

    Exit codes: 2 for errors in the settings, the application or the usage; 1 for a node that cannot run,
    and for a client that is refused or receives an error; 128 + N for a node that signal N stopped before
    it was up.
    """
    if arguments is None:
        ownership.claim()
        standard_streams.install()
        arguments = sys.argv[1:]
    try:
        _run(arguments)
    except SystemExit as ended:
        if threading.active_count() > 1:
            _end_soon(ended)
        raise


def _end_soon(ended: SystemExit) -> None:
    """Do not wait for threads of the application without limit."""
    from mesh.nodes.runtime import exiting

    if exiting.threads():
        exiting.end_soon(ended.code if isinstance(ended.code, int) else bool(ended.code))


def _run(arguments: list[str]) -> None:
    commands = arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS
    try:
        application(commands)(arguments, prog_name="mesh")
    except StoppedError as stopped:
        sys.exit(stopped.exit_code)
    except (NodeError, UnreachableError, HistoryUnavailableError, ClientError) as error:
        _fail(error, 1)
    except MeshError as error:
        _fail(error, 2)


def run_command(name: str) -> None:
    """Run one command with the process's own arguments: what `scripts/run_gateway.py` does."""
    ownership.claim()
    standard_streams.install()
    main([name, *sys.argv[1:]])


def _fail(error: MeshError, code: int) -> None:
    from mesh.nodes.runtime import process

    process.report_error(error)
    sys.exit(code)
