"""`mesh routes` and `mesh settings`: an application's routes, and the settings of its nodes."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mesh import settings as settings_module
from mesh.nodes import application
from mesh.nodes.cli.options import App, Config


def routes(application_spec: App) -> None:
    """Print the application's route table, in order of precedence."""
    table = Table("transports", "route", "channel", "socket handler")
    for mount in application.load(application_spec).mounts.values():
        transports = {"websocket": mount.websocket, "longpoll": mount.longpoll}
        paths = [f"{mount.path}/{name}" for name, served in transports.items() if served]
        for route in mount.routes.routes:
            channel = f"{route.channel.__module__}.{route.channel.__qualname__}"
            table.add_row("\n".join(paths), route.pattern, channel, mount.handler.__name__)
    Console(markup=False, emoji=False).print(table)


def settings(
    application_spec: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="Include this application's own settings.")
    ] = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print every setting: its environment variable, its value, where the value is set, and its meaning."""
    code = application.load(application_spec).settings if application_spec else None
    rows = settings_module.explain(code, config)
    if json:
        Console(soft_wrap=True).print_json(data=[row._asdict() for row in rows])
        return
    table = Table("environment", "value", "from", "meaning")
    for row in rows:
        table.add_row(row.environment, str(row.value), row.origin, row.description)
    Console(markup=False, emoji=False).print(table)
