"""`mesh history`: the kept broadcasts of a topic."""

import json as jsonlib
import time
from typing import Annotated, Any

import typer
from rich.console import Console

import mesh
from mesh.app.history import LIST_LIMIT, KeptBroadcast
from mesh.nodes.cli.bus import payload_text, run
from mesh.nodes.cli.options import BusProxy, Json


def history(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic, e.g. room:lobby.")],
    limit: Annotated[
        int, typer.Option(min=1, help="Broadcasts to show at most, the newest ones.")
    ] = LIST_LIMIT,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="OFFSET", help="Show only broadcasts older than this one.")
    ] = None,
    proxy: BusProxy = None,
    json: Json = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove the history instead; the topic begins a new epoch.")
    ] = False,
) -> None:
    """Print the kept broadcasts of a topic, the oldest first: offset, time, event, payload.

    Example: [bold]mesh history room:lobby --limit 10[/bold]
    """

    async def ask() -> list[KeptBroadcast]:
        async with mesh.connect(*(proxy or ())) as pubsub:
            if forget:
                await pubsub.forget(topic)
                return []
            return await pubsub.history(topic, limit, before)

    console = Console(soft_wrap=True, highlight=False, emoji=False)
    for each in run(ask()) or ():
        if json:
            typer.echo(_json(each))
        else:
            _print(console, each)


def _json(each: KeptBroadcast) -> str:
    payload: Any = {"bytes": each.payload.hex()} if isinstance(each.payload, bytes) else each.payload
    row = {"offset": each.offset, "event": each.event, "payload": payload, "at": each.at}
    return jsonlib.dumps(row, default=repr)


def _print(console: Console, each: KeptBroadcast) -> None:
    console.print(each.offset, end=" ", style="cyan")
    console.print(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at)), end=" ", style="dim")
    console.print(each.event, end=" ", style="bold", markup=False)
    console.print(payload_text(each.payload), markup=False)
