"""`mesh new` and `mesh gen …`."""

from pathlib import Path
from typing import Annotated

import typer

from mesh.nodes.generators import application, pieces
from mesh.nodes.generators.render import find_package, snake

gen = typer.Typer(
    no_args_is_help=True, help="Add a channel, a socket handler or a presence to an application."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name in CamelCase, e.g. Room.")]
Package = Annotated[
    str | None, typer.Option(help="The application's package; by default the one with an Endpoint.")
]


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The application's name, e.g. chat.")],
) -> None:
    """Create an application with rooms, presence, a web page and tests.

    Example: [bold]mesh new chat[/bold]
    """
    _print_created(application.new(name, Path.cwd()))
    typer.echo(
        f"\nRun it:   cd {name} && mesh serve {name}:endpoint --reload\nTest it:  cd {name} && pytest"
    )


@gen.command()
def channel(name: Name, package: Package = None) -> None:
    """Create a channel and its test.

    Example: [bold]mesh gen channel Room[/bold]
    """
    package = package or find_package(Path.cwd())
    _print_created(pieces.channel(name, package, Path.cwd()))
    stem = snake(name)
    typer.echo(
        "\nDeclare it in your socket handler:\n\n"
        f"    from {package}.{stem}_channel import {name}Channel\n\n"
        f'    channels = {{"{stem}:*": {name}Channel}}'
    )


@gen.command()
def socket(
    name: Name,
    package: Package = None,
    from_channel: Annotated[str | None, typer.Option(help="A channel to declare in it, e.g. Room.")] = None,
) -> None:
    """Create a socket handler, and a JavaScript file that connects to it.

    Example: [bold]mesh gen socket User --from-channel Room[/bold]
    """
    package = package or find_package(Path.cwd())
    _print_created(pieces.socket(name, package, Path.cwd(), from_channel))
    typer.echo(
        f"\nMount it:\n\n    from {package}.{snake(name)}_socket import {name}Socket\n\n"
        f'    endpoint = Endpoint(sockets={{"/socket": {name}Socket}})\n\n'
        "If the application has a socket at /socket already, choose another path, here and in"
        f" static/{snake(name)}_socket.js."
    )


@gen.command()
def presence(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A name in CamelCase.")] = "People",
    package: Package = None,
) -> None:
    """Create a Presence class.

    Example: [bold]mesh gen presence[/bold]
    """
    package = package or find_package(Path.cwd())
    _print_created(pieces.presence(name, package, Path.cwd()))
    stem = snake(name)
    typer.echo(
        f"\nDeclare it:\n\n    from {package}.{stem} import {stem}\n\n"
        f"    endpoint = Endpoint(sockets={{...}}, presences=[{stem}])\n\n"
        f"Use it in a channel's after_join:\n\n    {stem}.track(self, user_id)\n"
        f'    self.push("presence_state", {stem}.list(self))'
    )


def _print_created(written: list[Path]) -> None:
    for path in written:
        typer.echo(f"created {path.relative_to(Path.cwd())}")
