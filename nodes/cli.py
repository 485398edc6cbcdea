"""`mesh …`: each command builds the settings and calls one function of `nodes`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mesh import settings as settings_module
from mesh.endpoint import Endpoint
from mesh.errors import ClientError, MeshError, NodeError, UnreachableError
from mesh.settings import Settings
from nodes import (
    application,
    banner,
    bus_cli,
    client_cli,
    keys_cli,
    process,
    topics_cli,
    trace_cli,
    wait_cli,
)
from nodes.generators import cli as generators
from nodes.signals import StoppedError

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
Config = Annotated[Path | None, typer.Option(help="A TOML file; by default ./mesh.toml if there is one.")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.")]
LogFormat = Annotated[str | None, typer.Option(help="console, json or logfmt.")]


@app.command()
def serve(
    application_spec: App,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a Python file changes.")
    ] = False,
) -> None:
    """Run everything in one process: gateway, worker and proxy. No broker to install.

    Example: [bold]mesh serve examples.chat:endpoint --port 4000[/bold]
    """
    from nodes import embedded

    flags = _flags(log_level, log_format, gateway={"host": host or None, "port": port})
    process.begin("serve", config, flags, heed_signals=not reload)
    if reload:
        from nodes import reload as reloader

        given: dict[str, Any] = {"--port": port, "--config": config}
        given |= {"--log-level": log_level, "--log-format": log_format}
        options = [
            text for name, value in given.items() if value is not None for text in (name, str(value))
        ]
        options += [text for each in host or () for text in ("--host", each)]
        return reloader.run(["serve", application_spec, *options], Path.cwd())
    endpoint = application.load(application_spec)
    embedded.run(endpoint, _settings("serve", endpoint, config, flags), application_spec)


@app.command()
def gateway(
    application_spec: App,
    host: Host = None,
    port: Port = None,
    proxy: Proxy = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a gateway: it terminates clients and passes their channels on to the workers.

    Example: [bold]mesh gateway examples.chat:endpoint --port 4000 --proxy tcp://127.0.0.1:5550[/bold]
    """
    from nodes import gateway as node

    flags = _flags(log_level, log_format, gateway={"host": host or None, "port": port}, bus=_bus(proxy))
    process.begin("gateway", config, flags)
    endpoint = application.load(application_spec)
    node.run(endpoint, _settings("gateway", endpoint, config, flags), application_spec)


@app.command()
def worker(
    application_spec: App,
    proxy: Proxy = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a worker: it runs the application's channels. Gateways find it by themselves.

    Example: [bold]mesh worker examples.chat:endpoint --proxy tcp://127.0.0.1:5550[/bold]
    """
    from nodes import worker as node

    flags = _flags(log_level, log_format, bus=_bus(proxy))
    process.begin("worker", config, flags)
    endpoint = application.load(application_spec)
    node.run(endpoint, _settings("worker", endpoint, config, flags), application_spec)


@app.command()
def proxy(
    bind: Annotated[
        str | None,
        typer.Option(help="For publishers; subscribers: the next port, or path + .sub."),
    ] = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a proxy: it relays broadcasts between all nodes.

    Example: [bold]mesh proxy --bind tcp://127.0.0.1:5550[/bold]
    """
    from nodes import proxy as node

    flags = _flags(log_level, log_format, bus=_bus([bind] if bind else None))
    process.begin("proxy", config, flags)
    node.run(_settings("proxy", None, config, flags))


@app.command()
def cluster(
    application_spec: App,
    gateways: Annotated[int, typer.Option(min=1, help="Gateways; they share the port.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Workers.")] = 2,
    proxies: Annotated[int, typer.Option(min=1, max=16, help="Proxies; with two, one may die.")] = 1,
    host: Host = None,
    port: Port = None,
    status_file: Annotated[
        Path | None, typer.Option(help="Keep a JSON file with every node's pid and URL.")
    ] = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a whole cluster on this machine, and restart what dies.

    Gateways share the port, and each has one of its own behind it: with --port 4000 they are 4001, 4002, …

    Example: [bold]mesh cluster examples.chat:endpoint --gateways 2 --workers 2 --port 4000[/bold]
    """
    from nodes import cluster as node

    flags = _flags(log_level, log_format, gateway={"host": host or None, "port": port})
    process.begin("cluster", config, flags)
    endpoint = application.load(application_spec)
    settings = _settings("cluster", endpoint, config, flags)
    sys.exit(node.run(application_spec, settings, gateways, workers, proxies, status_file))


@app.command()
def routes(application_spec: App) -> None:
    """Print the application's route table, in order of precedence."""
    table = Table("transports", "route", "channel", "socket handler")
    for mount in application.load(application_spec).mounts.values():
        transports = {"websocket": mount.websocket, "longpoll": mount.longpoll}
        paths = [f"{mount.path}/{name}" for name, served in transports.items() if served]
        for route in mount.routes.routes:
            channel = f"{route.channel.__module__}.{route.channel.__qualname__}"
            table.add_row("\n".join(paths), route.pattern, channel, mount.handler.__name__)
    Console().print(table)


@app.command()
def settings(
    application_spec: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="With this application's own settings.")
    ] = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print every setting: its name in the environment, its value, where that came from, what it means."""
    code = application.load(application_spec).settings if application_spec else None
    rows = settings_module.explain(code, config)
    if json:
        Console(soft_wrap=True).print_json(data=[row._asdict() for row in rows])
        return
    table = Table("environment", "value", "from", "meaning")
    for row in rows:
        table.add_row(row.environment, str(row.value), row.origin, row.description)
    Console().print(table)


app.command()(bus_cli.tail)
app.command()(bus_cli.broadcast)
app.command()(bus_cli.nodes)
app.command()(topics_cli.topics)
app.command()(trace_cli.trace)
app.command()(wait_cli.wait)
app.command()(client_cli.join)
app.command()(client_cli.push)
app.command()(generators.new)
app.add_typer(generators.gen, name="gen")
app.add_typer(keys_cli.keys, name="keys")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(banner.own_version())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what goes wrong is one readable line and an exit code.

    Exit codes: 2 for settings, application and usage; 1 for a node that cannot run, and for a client
    that is not let in or gets an error; 128 + N for a node that signal N stopped before it was up.
    """
    if arguments is None:
        process.is_whole()
    try:
        app(arguments, prog_name="mesh")
    except StoppedError as stopped:
        sys.exit(stopped.exit_code)
    except (NodeError, UnreachableError, ClientError) as error:
        _fail(error, 1)
    except MeshError as error:
        _fail(error, 2)


def run_command(name: str) -> None:
    """Run one command with the process's own arguments: what `python -m nodes.gateway` does."""
    process.is_whole()
    main([name, *sys.argv[1:]])


def _fail(error: MeshError, code: int) -> None:
    process.fail(error)
    sys.exit(code)


def _bus(addresses: list[str] | None) -> dict[str, Any]:
    return {"proxies": addresses or None}


def _flags(level: str | None, format: str | None, **rooms: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"log": {"level": level, "format": format}, **rooms}


def _settings(
    node: str, endpoint: Endpoint | None, config: Path | None, flags: dict[str, dict[str, Any]]
) -> Settings:
    loaded = settings_module.load(endpoint.settings if endpoint else None, config, flags)
    process.configure(loaded.log, node)
    return loaded
