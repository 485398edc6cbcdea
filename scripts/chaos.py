"""Kills and freezes the nodes of a cluster under load; no message may be lost.

    python scripts/chaos.py [--seconds 60] [--seed 1] [--proxies 2] [--plot chaos.png] [--json chaos.json]

It starts `mesh cluster`, programs that publish numbers to topics over the bus, a client that pushes numbers
and waits for each acknowledgement, and readers at every gateway. Then it follows a schedule made from the
seed: it kills (SIGKILL), freezes (SIGSTOP, SIGCONT) and restarts (SIGTERM) nodes of every kind, one at a
time, and performs rolling restarts of the cluster (SIGHUP). At the end it reports the messages sent while
readers were joined, and those lost, duplicated or out of order. The exit code is 1 if there were any;
scripts/chaos/judging.py defines which messages a reader must receive.

Other clients join topics with a history. They are cut, frozen and moved to other gateways all the time, and
must recover every message once and in order, or be told that they cannot: scripts/chaos/recovery_judging.py
says when that is right. The fault "wipe" kills all workers at once, so that histories are lost.

The second table shows the same by the fault that was active when a message was published.
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
from chaos.recovering import RecoveringLoad
from chaos.recovery_judging import judge_recoveries
from chaos.report import report, report_recoveries
from harness import picture
from harness.processes import KINDS, Cluster, wait_for

APP = "scripts.chaos.app:endpoint"
SETTINGS = {"MESH_DRAIN__INTERVAL_SECONDS": "0"}


async def run(options: argparse.Namespace, directory: Path) -> History:
    """Run the whole experiment."""
    history = History()
    counts = {kind: getattr(options, kind) for kind in KINDS}
    with Cluster(APP, directory, counts, SETTINGS) as cluster:
        await asyncio.to_thread(wait_for, cluster.ready, cluster)
        load = Load(cluster, history, options.topics, options.rate)
        await load.start()
        recovering = RecoveringLoad(cluster, history, options.seed)
        await recovering.start()
        history.started = time.monotonic()
        async for fault in schedule(options):
            if time.monotonic() - history.started > options.seconds:
                break
            await inflict(cluster, fault)
            history.faults.append(fault)
            print(f"{fault.at - history.started:7.1f} s  {fault.name} {fault.index + 1}", flush=True)
        await asyncio.sleep(1.0)
        await load.end()
        await recovering.end()
    return history


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long faults are inflicted (60)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the schedule (1)")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--proxies", type=int, default=2)
    parser.add_argument("--topics", type=int, default=12)
    parser.add_argument(
        "--rate", type=float, default=200, help="messages per second of each publisher (200)"
    )
    parser.add_argument(
        "--faults", nargs="+", choices=list(FAULTS), default=["kill", "freeze", "restart", "roll"]
    )
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--plot", type=Path, help="write a plot to this file; needs matplotlib")
    parser.add_argument("--log", type=Path, help="keep the cluster's log in this file")
    options = parser.parse_args()
    if options.plot is not None:
        picture.check()
    return options


def main() -> None:
    """Run the experiment and print its result."""
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
    recoveries = judge_recoveries(history)
    result["recovering"] = report_recoveries(history, recoveries)
    if options.json is not None:
        options.json.write_text(json.dumps({"seed": options.seed, **result}, indent=1))
    if options.plot is not None:
        plot(options.plot, history, verdicts, result)
    if any(each.count(outcome) for each in verdicts for outcome in ("lost", "doubled", "misordered")):
        sys.exit("messages were lost, duplicated or out of order")
    if any(each.wrong for each in recoveries):
        sys.exit("clients that recover lost messages, or were told so without a cause")


if __name__ == "__main__":
    main()
