"""Kills and freezes the nodes of a cluster under load, and counts what was lost: nothing.

    python scripts/chaos.py [--seconds 60] [--seed 1] [--proxies 2] [--plot chaos.png] [--json chaos.json]

Starts `mesh cluster`, programs that publish numbers to topics over the bus, a client that pushes numbers
and has each acknowledged, and clients at every gateway that read them. Then, by a schedule made from the
seed, it kills (SIGKILL), freezes (SIGSTOP, SIGCONT) and restarts (SIGTERM) nodes of every kind, one at a
time, and has all of them restarted one by one (SIGHUP to the cluster). At the end it says what was sent
while readers were joined, and what was lost, doubled or out of order; exit code 1 if anything was
(scripts/chaos/judging.py says what a reader is owed).

The second table tells the same by what was being done to the cluster when a message was published.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from chaos.faults import FAULTS, inflict, schedule
from chaos.history import History
from chaos.judging import judge
from chaos.load import Load
from chaos.plot import plot
from chaos.report import report
from harness import picture
from harness.processes import KINDS, Cluster, wait_for

APP = "scripts.chaos.app:endpoint"
SETTINGS = {"MESH_DRAIN__INTERVAL_SECONDS": "0"}


async def run(options: argparse.Namespace, directory: Path) -> History:
    """The whole experiment."""
    history = History()
    counts = {kind: getattr(options, kind) for kind in KINDS}
    with Cluster(APP, directory, counts, SETTINGS) as cluster:
        await asyncio.to_thread(wait_for, cluster.ready, cluster)
        load = Load(cluster, history, options.topics, options.rate)
        await load.start()
        history.began = time.monotonic()
        async for fault in schedule(options):
            if time.monotonic() - history.began > options.seconds:
                break
            await inflict(cluster, fault)
            history.faults.append(fault)
            print(f"{fault.at - history.began:7.1f} s  {fault.name} {fault.index + 1}", flush=True)
        await asyncio.sleep(1.0)
        await load.end()
    return history


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="faults are inflicted for so long")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--proxies", type=int, default=2)
    parser.add_argument("--topics", type=int, default=12)
    parser.add_argument("--rate", type=float, default=200, help="messages a second, of each publisher")
    parser.add_argument(
        "--faults", nargs="+", choices=list(FAULTS), default=["kill", "freeze", "restart", "roll"]
    )
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument("--plot", type=Path, help="write a plot there (needs matplotlib)")
    parser.add_argument("--log", type=Path, help="keep the cluster's log there")
    options = parser.parse_args()
    if options.plot is not None:
        picture.check()
    return options


def main() -> None:
    """Run it, print what came of it."""
    options = arguments()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        try:
            history = asyncio.run(run(options, directory))
        finally:
            if options.log is not None:
                options.log.write_text((directory / "cluster.log").read_text())
    verdicts = judge(history)
    result = report(history, verdicts)
    if options.json is not None:
        options.json.write_text(json.dumps({"seed": options.seed, **result}, indent=1))
    if options.plot is not None:
        plot(options.plot, history, verdicts, result)
    if any(each.count(fate) for each in verdicts for fate in ("lost", "doubled", "misordered")):
        sys.exit("something was lost, doubled or misordered")


if __name__ == "__main__":
    main()
