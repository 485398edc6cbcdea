"""`mesh tail`, `mesh broadcast`, `mesh nodes`: the bus from a terminal."""

import asyncio
import json as jsonlib
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import mesh
from mesh.bus.discovery.placement import Announcement
from mesh.errors import PayloadError
from mesh.nodes.cli.options import BusProxy, Json
from mesh.protocol import payloads

LISTEN_SECONDS = 1.5
"""Long enough to hear every node, which announces itself each second."""


def tail(
    topic: Annotated[
        str,
        typer.Argument(metavar="TOPIC", help="A topic or pattern: room:lobby, 'room:*', or '*' for all."),
    ],
    proxy: BusProxy = None,
    json: Json = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many broadcasts.")] = None,
) -> None:
    """Print broadcasts as they happen, until Ctrl-C.

    Example: [bold]mesh tail 'room:*'[/bold]
    """
    console = Console(soft_wrap=True, highlight=False, emoji=False)

    async def follow() -> None:
        async with mesh.connect(*(proxy or ())) as pubsub, pubsub.subscribe(topic) as broadcasts:
            seen = 0
            async for each in broadcasts:
                if json:
                    typer.echo(_json(each))
                else:
                    text = payload_text(each.payload)
                    stamp = time.strftime("%H:%M:%S")
                    console.print(f"{stamp} ", end="", style="dim")
                    console.print(each.topic, end=" ", style="cyan", markup=False)
                    console.print(each.event, end=" ", style="bold", markup=False)
                    console.print(text, markup=False)
                seen += 1
                if seen == count:
                    return

    run(follow())


def broadcast(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    event: Annotated[str, typer.Argument(metavar="EVENT")],
    payload: Annotated[str, typer.Argument(metavar="JSON", help="An object.")] = "{}",
    proxy: BusProxy = None,
) -> None:
    """Broadcast an event to every member of a topic.

    Example: [bold]mesh broadcast room:lobby new_msg '{"body": "hi"}'[/bold]
    """
    value = parse_json(payload)

    async def send() -> None:
        async with mesh.connect(*(proxy or ())) as pubsub:
            await pubsub.broadcast(topic, event, value)

    run(send())


def nodes(proxy: BusProxy = None, json: Json = False) -> None:
    """List the nodes of the mesh: gateways, and workers with the routes they serve.

    Example: [bold]mesh nodes --proxy tcp://127.0.0.1:5550[/bold]
    """

    async def listen() -> list[Announcement]:
        async with mesh.connect(*(proxy or ())) as pubsub:
            return await pubsub.nodes(LISTEN_SECONDS)

    found = sorted(run(listen()) or (), key=lambda each: (each.kind, each.node))
    if json:
        for each in found:
            routes = [{"mount": path, "route": pattern} for path, pattern in each.routes]
            typer.echo(
                jsonlib.dumps(
                    {
                        "node": each.node,
                        "kind": each.kind,
                        "link": each.link,
                        "routes": routes,
                        "proxies": each.proxies,
                        "versions": each.reads,
                    }
                )
            )
        return
    table = Table("node", "kind", "link", "routes", "hears", "bus version")
    for each in found:
        routes_text = "\n".join(f"{path} {pattern}" for path, pattern in each.routes)
        table.add_row(
            each.node,
            each.kind,
            each.link or "",
            routes_text,
            "\n".join(each.proxies or ()),
            str(each.reads),
        )
    Console(markup=False, emoji=False).print(table)


def parse_json(text: str) -> Any:
    """Parse a payload given as JSON. Raises PayloadError."""
    try:
        return jsonlib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"payload {text[:80]!r} is not JSON: {error}") from None


def payload_text(payload: Any) -> str:
    """Return a payload as one line; for bytes, their length."""
    if isinstance(payload, bytes):
        return f"({len(payload)} bytes)"
    try:
        return payloads.encode(payload)[1].decode()
    except PayloadError:  # msgpack from another program may contain what JSON cannot
        return repr(payload)


def _json(each: Any) -> str:
    payload = {"bytes": each.payload.hex()} if isinstance(each.payload, bytes) else each.payload
    return jsonlib.dumps({"topic": each.topic, "event": each.event, "payload": payload}, default=repr)


def run(work: Any) -> Any:
    """Run a coroutine and return its result; Ctrl-C ends it silently, with None."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        return None
