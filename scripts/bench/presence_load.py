"""Measures presence: members join one topic one after another; each gets the state, all others the diff."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from bench import generator
from bench.processes import Meter
from bench.row import Report, Run
from mesh.client import Client

TOPIC = "presence:0"
PATIENCE_SECONDS = 60.0


def joining(members: int) -> Callable[[Run], Report]:
    """Return a row: CPU time per join including all diffs, and the size of the diffs."""
    return lambda run: asyncio.run(_measure(run, run.capped(members)))


async def _measure(run: Run, members: int) -> Report:
    diffs: list[Any] = []
    async with Client(f"ws://{run.server.hosts[0]}/socket", params={"user_id": "watcher"}) as client:
        channel = await client.join(TOPIC)
        channel.on("presence_diff", diffs.append)
        meter = Meter(run.server.pids)
        arguments = (
            f"hold -n {members} --topics 1 --topic-prefix presence: --conc 16 --settle 3 -s 1 --hb 0"
        )
        query = ["--query", "vsn=2.0.0&user_id=user-%d"]
        done = await asyncio.to_thread(generator.run, run.wsload, run.server, [*arguments.split(), *query])
        joined = await _all_seen(diffs, members)
        report = meter.report()
    size = sum(len(json.dumps(each, separators=(",", ":"))) for each in diffs)
    return {
        **done,
        **report,
        "ok": done["ok"] and joined == members,
        "seen": joined,
        "diffs": len(diffs),
        "diff_bytes": size / max(1, joined),
        "presence_cpu_ms": 1000 * report["server_cpu_s"] / members,
        "kb_in_per_join": done.get("bytes_in", 0) / members / 1000,
    }


async def _all_seen(diffs: list[Any], members: int) -> int:
    """Wait until the watcher has all joins, or gets none for a while; return how many it got."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (seen := sum(map(_users, diffs))) < members and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return seen


def _users(diff: Any) -> int:
    """Return how many joins of members a diff contains, without the watcher's own."""
    return sum(key.startswith("user-") for key in diff["joins"])
