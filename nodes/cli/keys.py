"""`mesh keys`: the CURVE keys of a mesh's nodes and of programs on its bus."""

import json as jsonlib
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from mesh.zeromq.keys import NODES, PREVIOUS, PROGRAMS, PROXY, Key, KeyDirectory

keys = typer.Typer(no_args_is_help=True, help="Generate, list, rotate and revoke CURVE keys.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The node or program, e.g. proxy or gateway-1.")]
Directory = Annotated[Path, typer.Option("--keys", help="The directory of the keys.")]
DIRECTORY = Path("keys")


@keys.command()
def generate(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="The names, e.g. proxy gateway-1 worker-1.")
    ],
    directory: Directory = DIRECTORY,
    program: Annotated[
        bool,
        typer.Option("--program", help="For programs that use the bus only, without links to workers."),
    ] = False,
) -> None:
    """Generate key pairs. All proxies share the one that is named `proxy`.

    Example: [bold]mesh keys generate proxy gateway-1 worker-1[/bold]
    """
    for name in names:
        _print_key(KeyDirectory(directory).generate(name, PROGRAMS if program else NODES))


@keys.command("list")
def list_keys(
    directory: Directory = DIRECTORY,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """List the keys that are accepted.

    Example: [bold]mesh keys list[/bold]
    """
    found = KeyDirectory(directory).list()
    if json:
        for key in found:
            text = {"name": key.name, "role": _role(key), "public": key.public.decode(), "made": key.made}
            typer.echo(jsonlib.dumps({**text, "secret": str(key.secret) if key.secret else None}))
        return
    table = Table("name", "role", "made", "pair")
    table.add_column("public key", no_wrap=True)
    for key in found:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.made))
        table.add_row(key.name, _role(key), made, "here" if key.secret else "", key.public.decode())
    Console(markup=False, emoji=False, highlight=False).print(table)


@keys.command()
def rotate(name: Name, directory: Directory = DIRECTORY) -> None:
    """Replace a key pair. The old key stays accepted until `mesh keys revoke NAME.previous`.

    Example: [bold]mesh keys rotate gateway-1[/bold]
    """
    _print_key(KeyDirectory(directory).rotate(name))
    if name == PROXY:
        typer.echo("restart the proxies with the new key, one by one; nodes accept it when they reconnect")
    typer.echo(f"then: mesh keys revoke {name}{PREVIOUS}")


@keys.command()
def revoke(name: Name, directory: Directory = DIRECTORY) -> None:
    """Revoke a key: within a second, new connections with it are refused.

    Its existing connections stay open; to end them, stop the node or program.

    Example: [bold]mesh keys revoke billing[/bold]
    """
    KeyDirectory(directory).revoke(name)


def _print_key(key: Key) -> None:
    typer.echo(f"{key.name}: {key.public.decode()}")
    typer.echo(f"  for this node or program only: MESH_SECURITY__NODE_KEY={key.secret}")


def _role(key: Key) -> Literal["node", "program"]:
    return "node" if key.role == NODES else "program"
