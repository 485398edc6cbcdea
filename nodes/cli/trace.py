"""`mesh trace`: what happens to the next messages on a topic, at each gateway."""

import json as jsonlib
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import mesh
from mesh.bus.trace_call import MAX_COUNT, MAX_SECONDS, Outcome, Published, Trace
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
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for problem in problems:
        console.print(f"mesh: {problem}", style="red")
    if problems:
        raise typer.Exit(1)


def _problems(topic: str, traced: Trace, seconds: float) -> list[str]:
    problems = [f"no message on {topic} within {seconds:g} seconds"] if not traced.messages else []
    if not traced.gateways:
        problems.append("no gateway has announced itself")
    for gateway, answer in traced.gateways:
        if answer is None:
            problems.append(f"{gateway} did not answer within {LISTEN_SECONDS:g} seconds")
        elif answer.problem:
            problems.append(f"{gateway}: {answer.problem}")
    return problems


def _outcomes(key: Key, traced: Trace) -> dict[str, Outcome | str]:
    """Return the outcome at each gateway, or the reason why there is none."""
    outcomes: dict[str, Outcome | str] = {}
    for gateway, answer in traced.gateways:
        if answer is None:
            outcomes[gateway] = "no answer"
            continue
        found = [each for each in answer.outcomes if (each.origin, each.sequence) == key]
        reason = "not arrived" if answer.members else "no members here"
        outcomes[gateway] = found[0] if found else answer.problem or reason
    return outcomes


def _start(outcomes: Mapping[str, Outcome | str], published: Published | None) -> float:
    """Return when the message was published, or else when it first arrived at a gateway."""
    if published is not None:
        return published.at
    return min(outcome.arrived for outcome in outcomes.values() if isinstance(outcome, Outcome))


def _print_json(topic: str, key: Key, traced: Trace) -> None:
    outcomes, published = _outcomes(key, traced), traced.published.get(key)
    arrived = next((outcome for outcome in outcomes.values() if isinstance(outcome, Outcome)), None)
    start = _start(outcomes, published) if arrived is not None or published is not None else 0.0
    gateways: dict[str, Any] = {}
    for gateway, outcome in outcomes.items():
        if isinstance(outcome, str):
            gateways[gateway] = {"problem": outcome}
            continue
        gateways[gateway] = {
            "after_ms": round((outcome.arrived - start) * 1000, 3),
            "members": outcome.members,
            "delivered": outcome.delivered,
            "filtered": outcome.filtered,
            "dropped": outcome.dropped,
            "held": outcome.held,
            "unsent": outcome.unsent,
        }
    row = {
        "topic": topic,
        "event": arrived.event if arrived is not None else None,
        "origin": key[0],
        "sequence": key[1],
        "bytes": arrived.bytes if arrived is not None else None,
        "published": published.at if published is not None else None,
        "proxy": published.proxy if published is not None else None,
        "gateways": gateways,
    }
    typer.echo(jsonlib.dumps(row))


def _print(topic: str, key: Key, traced: Trace) -> None:
    outcomes, published = _outcomes(key, traced), traced.published.get(key)
    arrived = next((outcome for outcome in outcomes.values() if isinstance(outcome, Outcome)), None)
    what = f"{arrived.event}, {arrived.bytes} bytes, " if arrived is not None else ""
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    console.print(f"{topic} {what}number {key[1]} from {key[0]}")
    if published is not None:
        stamp = time.strftime("%H:%M:%S", time.localtime(published.at))
        console.print(f"published {stamp}.{int(published.at % 1 * 1000):03d} through {published.proxy}")
    since = "after" if published is not None else "after the first"
    table = Table()
    table.add_column("gateway", min_width=max(map(len, outcomes), default=0))
    for title in (since, "members", "delivered", "filtered", "dropped", "waiting"):
        table.add_column(title)
    for gateway, outcome in outcomes.items():
        if isinstance(outcome, str):
            table.add_row(gateway, "", outcome)
            continue
        after = f"{(outcome.arrived - _start(outcomes, published)) * 1000:.1f} ms"
        waiting = {"held": outcome.held, "unsent": outcome.unsent}
        table.add_row(
            gateway,
            after,
            str(outcome.members),
            str(outcome.delivered),
            _counts(outcome.filtered),
            _counts(outcome.dropped),
            _counts({reason: number for reason, number in waiting.items() if number}),
        )
    console.print(table)


def _counts(reasons: Mapping[str, int]) -> str:
    return "\n".join(f"{number} {reason}" for reason, number in sorted(reasons.items())) or "0"
