"""`mesh wait`: waits until a mesh works, for scripts that restart its nodes one by one."""

from typing import Annotated

import typer

from mesh import settings
from nodes.cli.bus import run
from nodes.cli.options import BusProxy
from nodes.wholeness import PATIENCE_SECONDS, until_whole


def wait(
    gateway: Annotated[
        list[str], typer.Option(help="The URL of each gateway, repeatable; /readyz is asked there.")
    ],
    workers: Annotated[int, typer.Option(min=1, help="How many there are.")],
    proxy: BusProxy = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="Then give up, with exit code 1, and say what is missing.")
    ] = PATIENCE_SECONDS,
) -> None:
    """Return once every node is there, hears every proxy, and every gateway is ready.

    Example: [bold]mesh wait --gateway http://10.0.0.1:4000 --workers 2[/bold]
    """
    proxies = settings.load(flags={"bus": {"proxies": proxy or None}}).bus.proxies
    run(until_whole(proxies, [each.rstrip("/") for each in gateway], workers, seconds))
