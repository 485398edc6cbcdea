"""`mesh trace`: what happens to the next messages on a topic, at each gateway."""

import json as jsonlib
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import mesh
from mesh.bus.trace_call import MAX_COUNT, MAX_SECONDS, Fate, Published, Trace
from mesh.nodes.cli.bus import LISTEN_SECONDS, parse_json, run
from mesh.nodes.cli.options import BusProxy, Json

Key = tuple[str, int]


def trace(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="The topic, e.g. room:lobby; patterns are not allowed.")
    ],
    publish: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="EVENT JSON", help="Publish this event instead of waiting for one."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="Number of messages to follow.")] = 1,
    seconds: Annotated[
        float,
        typer.Option(min=0.1, max=MAX_SECONDS, help="Seconds to wait for the messages and their delivery."),
    ] = 10.0,
    proxy: BusProxy = None,
    json: Json = False,
) -> None:
    """Follow the next message on a topic: delivered, filtered, dropped or waiting, at each gateway.

    Ends when no delivery is pending. Exits with 1 if no message arrived, or if a gateway does not answer.

    Example: [bold]mesh trace room:lobby --publish ping '{}'[/bold]
    """
    message = (publish[0], parse_json(publish[1])) if publish is not None else None

    async def follow() -> Trace:
        async with mesh.connect(*(proxy or ())) as pubsub:
            return await pubsub.trace(topic, LISTEN_SECONDS, seconds, count, message)

    traced: Trace | None = run(follow())
    if traced is None:  # Ctrl-C
        return
    show = _print_json if json else _print
    for key in traced.messages:
        show(topic, key, traced)
    problems = _problems(topic, traced, seconds)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for problem in problems:
        console.print(f"mesh: {problem}", style="red")
    if problems:
        raise typer.Exit(1)


def _problems(topic: str, traced: Trace, seconds: float) -> list[str]:
    problems = [f"no message on {topic} within {seconds:g} seconds"] if not traced.messages else []
    if not traced.gateways:
        problems.append("no gateway has announced itself")
    for gateway, seen in traced.gateways:
        if seen is None:
            problems.append(f"{gateway} did not answer within {LISTEN_SECONDS:g} seconds")
        elif seen.problem:
            problems.append(f"{gateway}: {seen.problem}")
    return problems


def _fates(key: Key, traced: Trace) -> dict[str, Fate | str]:
    """Return the fate at each gateway, or the reason why there is none."""
    fates: dict[str, Fate | str] = {}
    for gateway, seen in traced.gateways:
        if seen is None:
            fates[gateway] = "no answer"
            continue
        found = [each for each in seen.fates if (each.origin, each.sequence) == key]
        reason = "not arrived" if seen.members else "no members here"
        fates[gateway] = found[0] if found else seen.problem or reason
    return fates


def _start(fates: Mapping[str, Fate | str], published: Published | None) -> float:
    """Return when the message was published, or else when it first arrived at a gateway."""
    if published is not None:
        return published.at
    return min(fate.arrived for fate in fates.values() if isinstance(fate, Fate))


def _print_json(topic: str, key: Key, traced: Trace) -> None:
    fates, published = _fates(key, traced), traced.published.get(key)
    arrived_fate = next((fate for fate in fates.values() if isinstance(fate, Fate)), None)
    start = _start(fates, published) if arrived_fate is not None or published is not None else 0.0
    gateways: dict[str, Any] = {}
    for gateway, fate in fates.items():
        if isinstance(fate, str):
            gateways[gateway] = {"problem": fate}
            continue
        gateways[gateway] = {
            "after_ms": round((fate.arrived - start) * 1000, 3),
            "members": fate.members,
            "delivered": fate.delivered,
            "filtered": fate.filtered,
            "dropped": fate.dropped,
            "held": fate.held,
            "unsent": fate.unsent,
        }
    row = {
        "topic": topic,
        "event": arrived_fate.event if arrived_fate is not None else None,
        "origin": key[0],
        "sequence": key[1],
        "bytes": arrived_fate.bytes if arrived_fate is not None else None,
        "published": published.at if published is not None else None,
        "proxy": published.proxy if published is not None else None,
        "gateways": gateways,
    }
    typer.echo(jsonlib.dumps(row))


def _print(topic: str, key: Key, traced: Trace) -> None:
    fates, published = _fates(key, traced), traced.published.get(key)
    arrived_fate = next((fate for fate in fates.values() if isinstance(fate, Fate)), None)
    what = f"{arrived_fate.event}, {arrived_fate.bytes} bytes, " if arrived_fate is not None else ""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.print(f"{topic} {what}number {key[1]} from {key[0]}")
    if published is not None:
        stamp = time.strftime("%H:%M:%S", time.localtime(published.at))
        console.print(f"published {stamp}.{int(published.at % 1 * 1000):03d} through {published.proxy}")
    since = "after" if published is not None else "after the first"
    table = Table()
    table.add_column("gateway", min_width=max(map(len, fates), default=0))
    for title in (since, "members", "delivered", "filtered", "dropped", "waiting"):
        table.add_column(title)
    for gateway, fate in fates.items():
        if isinstance(fate, str):
            table.add_row(gateway, "", fate)
            continue
        after = f"{(fate.arrived - _start(fates, published)) * 1000:.1f} ms"
        waiting = {"held": fate.held, "unsent": fate.unsent}
        table.add_row(
            gateway,
            after,
            str(fate.members),
            str(fate.delivered),
            _counts(fate.filtered),
            _counts(fate.dropped),
            _counts({reason: number for reason, number in waiting.items() if number}),
        )
    console.print(table)


def _counts(reasons: Mapping[str, int]) -> str:
    return "\n".join(f"{number} {reason}" for reason, number in sorted(reasons.items())) or "0"
