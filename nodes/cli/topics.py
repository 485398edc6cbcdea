"""`mesh topics`: which topics have members, on which gateways."""

import json as jsonlib
from collections import defaultdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import mesh
from mesh.bus.topic_counts import MAX_TOPICS, GatewayTopics
from mesh.nodes.cli.bus import LISTEN_SECONDS, run
from mesh.nodes.cli.options import BusProxy, Json

Limit = Annotated[
    int, typer.Option(min=1, max=MAX_TOPICS, help="Topics to show at most, those with the most members.")
]


def topics(
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="[TOPIC]", help="A topic or a pattern such as 'room:*'; by default all topics."
        ),
    ] = "*",
    proxy: BusProxy = None,
    json: Json = False,
    limit: Limit = 100,
) -> None:
    """List live topics and their members on each gateway, those with the most members first.

    Example: [bold]mesh topics 'room:*'[/bold]
    """

    async def ask() -> list[GatewayTopics]:
        async with mesh.connect(*(proxy or ())) as pubsub:
            return await pubsub.topics(pattern, LISTEN_SECONDS, limit)

    answers = run(ask()) or []
    members: dict[str, dict[str, int]] = defaultdict(dict)
    for gateway, answer in answers:
        for topic, count in answer.counts if answer is not None else ():
            members[topic][gateway] = count
    rows = sorted(members.items(), key=lambda row: (-sum(row[1].values()), row[0]))
    _print(rows[:limit], json)
    problems = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for gateway, answer in answers:
        if answer is not None and answer.total > len(answer.counts):
            problems.print(
                f"mesh: truncated: {gateway} has {answer.total} matching topics and reported"
                f" {len(answer.counts)}; raise --limit or narrow the pattern",
                style="yellow",
            )
    if len(rows) > limit:
        problems.print(
            f"mesh: truncated: {limit} of {len(rows)} topics are shown; raise --limit to see more",
            style="yellow",
        )
    silent = [gateway for gateway, answer in answers if answer is None]
    for gateway in silent:
        problems.print(f"mesh: {gateway} did not answer within {LISTEN_SECONDS:g} seconds", style="red")
    if silent:
        raise typer.Exit(1)


def _print(rows: list[tuple[str, dict[str, int]]], json: bool) -> None:
    if json:
        for topic, gateways in rows:
            row = {"topic": topic, "members": sum(gateways.values()), "gateways": gateways}
            typer.echo(jsonlib.dumps(row))
        return
    table = Table("topic", "members", "gateways")
    for topic, gateways in rows:
        counts = "\n".join(f"{gateway} {count}" for gateway, count in sorted(gateways.items()))
        table.add_row(topic, str(sum(gateways.values())), counts)
    Console(markup=False, emoji=False).print(table)
