"""Options that several commands share, and the settings made from them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mesh import settings
from mesh.app.endpoint import Endpoint
from mesh.nodes.runtime import process
from mesh.settings import Settings

App = Annotated[
    str,
    typer.Argument(metavar="APP", help="MODULE:ATTRIBUTE, e.g. examples.chat:endpoint."),
]
Host = Annotated[
    list[str] | None,
    typer.Option(help="Address to listen on, repeatable; :: for all, 0.0.0.0 for all of IPv4."),
]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 lets the kernel choose.")]
Proxy = Annotated[
    list[str] | None,
    typer.Option(help="A proxy's address, e.g. tcp://127.0.0.1:5550 or ipc:///run/mesh/proxy; repeatable."),
]
BusProxy = Annotated[
    list[str] | None,
    typer.Option(help="The address of every proxy, repeatable; by default those in the settings."),
]
"""For commands that are not nodes."""
Config = Annotated[Path | None, typer.Option(help="A TOML file; by default ./mesh.toml if there is one.")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.")]
LogFormat = Annotated[str | None, typer.Option(help="console, json or logfmt.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


def bus(addresses: list[str] | None) -> dict[str, Any]:
    """Return the bus's settings from --proxy or --bind."""
    return {"proxies": addresses or None}


def to_settings(
    level: str | None, format: str | None, **sections: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the settings that flags give, by section."""
    return {"log": {"level": level, "format": format}, **sections}


def load(
    node: str, endpoint: Endpoint | None, config: Path | None, flags: dict[str, dict[str, Any]]
) -> Settings:
    """Load all settings of a node, and configure its log. Raises SettingsError."""
    loaded = settings.load(endpoint.settings if endpoint else None, config, flags)
    process.configure(loaded.log, node)
    return loaded
