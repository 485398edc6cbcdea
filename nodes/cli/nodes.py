"""`mesh serve`, `gateway`, `worker`, `proxy`, `cluster`: each runs nodes until it is stopped."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mesh.nodes import application
from mesh.nodes.cli.options import (
    App,
    Config,
    Host,
    LogFormat,
    LogLevel,
    Port,
    Proxy,
    bus,
    load,
    to_settings,
)
from mesh.nodes.runtime import process


def serve(
    application_spec: App,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when a Python file changes.")] = False,
) -> None:
    """Run everything in one process: gateway, worker and proxy. No broker to install.

    Example: [bold]mesh serve examples.chat:endpoint --port 4000[/bold]
    """
    from mesh.nodes import embedded

    flags = to_settings(log_level, log_format, gateway={"host": host or None, "port": port})
    process.prepare("serve", config, flags, handle_signals=not reload)
    if reload:
        from mesh.nodes.cluster import reload as reloader

        values: dict[str, Any] = {"--port": port, "--config": config}
        values |= {"--log-level": log_level, "--log-format": log_format}
        options = [
            text for name, value in values.items() if value is not None for text in (name, str(value))
        ]
        options += [text for each in host or () for text in ("--host", each)]
        return reloader.run(["serve", application_spec, *options], Path.cwd())
    endpoint = application.load(application_spec)
    embedded.run(endpoint, load("serve", endpoint, config, flags), application_spec)


def gateway(
    application_spec: App,
    host: Host = None,
    port: Port = None,
    proxy: Proxy = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a gateway: clients connect to it, and workers run their channels.

    Example: [bold]mesh gateway examples.chat:endpoint --port 4000 --proxy tcp://127.0.0.1:5550[/bold]
    """
    from mesh.nodes import gateway as node

    flags = to_settings(log_level, log_format, gateway={"host": host or None, "port": port}, bus=bus(proxy))
    process.prepare("gateway", config, flags)
    endpoint = application.load(application_spec)
    node.run(endpoint, load("gateway", endpoint, config, flags), application_spec)


def worker(
    application_spec: App,
    proxy: Proxy = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a worker: it runs the application's channels. Gateways discover it automatically.

    Example: [bold]mesh worker examples.chat:endpoint --proxy tcp://127.0.0.1:5550[/bold]
    """
    from mesh.nodes import worker as node

    flags = to_settings(log_level, log_format, bus=bus(proxy))
    process.prepare("worker", config, flags)
    endpoint = application.load(application_spec)
    node.run(endpoint, load("worker", endpoint, config, flags), application_spec)


def proxy(
    bind: Annotated[
        str | None,
        typer.Option(
            help="The address for publishers; subscribers use the next port, or the path plus .sub."
        ),
    ] = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a proxy: it relays broadcasts between all nodes.

    Example: [bold]mesh proxy --bind tcp://127.0.0.1:5550[/bold]
    """
    from mesh.nodes import proxy as node

    flags = to_settings(log_level, log_format, bus=bus([bind] if bind else None))
    process.prepare("proxy", config, flags)
    node.run(load("proxy", None, config, flags))


def cluster(
    application_spec: App,
    gateways: Annotated[int, typer.Option(min=1, help="Number of gateways, which share the port.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Number of workers.")] = 2,
    proxies: Annotated[
        int, typer.Option(min=1, max=16, help="Number of proxies; of two, either may fail.")
    ] = 1,
    host: Host = None,
    port: Port = None,
    status_file: Annotated[
        Path | None, typer.Option(help="Write every node's pid and URL to this file, as JSON.")
    ] = None,
    config: Config = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a whole cluster on this machine, and restart processes that die.

    The gateways share the port. Each also has a port of its own: with --port 4000, these are 4001, 4002, …

    Example: [bold]mesh cluster examples.chat:endpoint --gateways 2 --workers 2 --port 4000[/bold]
    """
    from mesh.nodes.cluster import local_cluster as node

    flags = to_settings(log_level, log_format, gateway={"host": host or None, "port": port})
    process.prepare("cluster", config, flags)
    endpoint = application.load(application_spec)
    settings = load("cluster", endpoint, config, flags)
    sys.exit(node.run(application_spec, settings, gateways, workers, proxies, status_file))
