"""The faults inflicted on the nodes of a cluster, and their schedule."""

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator

from chaos.history import Fault
from harness.processes import KINDS, Cluster, wait_for

FAULTS = {
    "roll": signal.SIGHUP,
    "kill": signal.SIGKILL,
    "freeze": signal.SIGSTOP,
    "restart": signal.SIGTERM,
    "wipe": signal.SIGKILL,
}
OF_ALL = ("roll", "wipe")
"""The faults that are not inflicted on one node."""
FREEZE_SECONDS = 4.0


async def schedule(options: argparse.Namespace) -> AsyncIterator[Fault]:
    """Yield faults endlessly: every combination once in random order, then again."""
    rng = random.Random(options.seed)
    while True:
        combinations = [(what, kind) for what in options.faults if what not in OF_ALL for kind in KINDS]
        combinations += [(what, "") for what in OF_ALL if what in options.faults]
        rng.shuffle(combinations)
        for what, kind in combinations:
            await asyncio.sleep(rng.uniform(0.5, 2.0))
            yield Fault(what, kind, rng.randrange(getattr(options, kind)) if kind else 0)


async def inflict(cluster: Cluster, fault: Fault) -> None:
    """Inflict a fault, and wait until the cluster is ready again."""
    if fault.what == "roll":
        await _roll(cluster, fault)
    elif fault.what == "wipe":
        await _wipe(cluster, fault)
    elif fault.what == "freeze":
        await _freeze(cluster, fault)
    else:
        await _end(cluster, fault)
    await asyncio.to_thread(wait_for, cluster.ready, cluster)
    fault.ended = time.monotonic()


async def _roll(cluster: Cluster, fault: Fault) -> None:
    """Perform a rolling restart."""
    before = set(cluster.pids())
    fault.at = time.monotonic()
    cluster.signal(FAULTS["roll"])
    async with asyncio.timeout(240):
        while None in (pids := cluster.pids()) or before & set(pids):
            await asyncio.sleep(0.2)


async def _wipe(cluster: Cluster, fault: Fault) -> None:
    """Kill all workers, and wait until the cluster has restarted them."""
    pids = [each["pid"] for each in cluster.status()["workers"]]
    fault.at = time.monotonic()
    for pid in pids:
        os.kill(pid, FAULTS["wipe"])
    async with asyncio.timeout(60):
        while {None, *pids} & {each["pid"] for each in cluster.status()["workers"]}:
            await asyncio.sleep(0.05)


async def _freeze(cluster: Cluster, fault: Fault) -> None:
    pid = _signal(cluster, fault)
    try:
        await asyncio.sleep(FREEZE_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)


async def _end(cluster: Cluster, fault: Fault) -> None:
    """Wait until the cluster has restarted the node."""
    pid = _signal(cluster, fault)
    async with asyncio.timeout(60):
        while cluster.status()[fault.kind][fault.index]["pid"] in (None, pid):
            await asyncio.sleep(0.05)


def _signal(cluster: Cluster, fault: Fault) -> int:
    """Send a signal to the fault's node; return its pid."""
    pid: int = cluster.status()[fault.kind][fault.index]["pid"]
    fault.at = time.monotonic()
    os.kill(pid, FAULTS[fault.what])
    return pid
