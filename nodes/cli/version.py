"""`mesh version`."""

import typer

from mesh.nodes.own_version import own_version


def version() -> None:
    """Print the version."""
    typer.echo(own_version())
