"""`mesh wait`: waits until a mesh works, for scripts that restart its nodes one by one."""

from typing import Annotated

import typer

from mesh import settings
from mesh.nodes.cli.bus import run
from mesh.nodes.cli.options import BusProxy
from mesh.nodes.cluster.readiness import TIMEOUT_SECONDS, wait_until_ready


def wait(
    gateway: Annotated[
        list[str], typer.Option(help="The URL of each gateway, repeatable; its /readyz is queried.")
    ],
    workers: Annotated[int, typer.Option(min=1, help="The number of workers.")],
    proxy: BusProxy = None,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="Seconds to wait; then it exits with 1 and reports what is missing."),
    ] = TIMEOUT_SECONDS,
) -> None:
    """Wait until every node is up and connected to every proxy, and every gateway is ready.

    Example: [bold]mesh wait --gateway http://10.0.0.1:4000 --workers 2[/bold]
    """
    proxies = settings.load(flags={"bus": {"proxies": proxy or None}}).bus.proxies
    run(wait_until_ready(proxies, [each.rstrip("/") for each in gateway], workers, seconds))
