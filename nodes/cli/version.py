"""`mesh version`."""

import typer

from mesh.nodes.own_version import VERSION


def version() -> None:
    """Print the version."""
    typer.echo(VERSION)
