"""`mesh version`."""

import typer

from nodes.versions import own_version


def version() -> None:
    """Print the version."""
    typer.echo(own_version())
