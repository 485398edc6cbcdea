"""Measures fan-out, echo, joins and memory, embedded and as a cluster, with the load generator beside it.

    python scripts/bench.py --rows fanout --servers embedded,cluster1
    python scripts/bench.py --compare ../before --repeat 3       # another checkout, in turn with this one
    python scripts/bench.py --url http://127.0.0.1:4000 --pid 123,124   # a peer that runs already

The generator (scripts/bench/wsload.c) is compiled with cc, checks that nothing is lost, doubled or
reordered, and counts the CPU time of every process of the server. Compare messages per CPU-second.
docs/performance.md explains the rows.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import generator, plot, report
from bench.machine import machine
from bench.row import Row, Run
from bench.rows import ROWS
from bench.servers import Target, local, peer
from harness import picture
from harness.processes import ROOT, command_module

DEFAULT_SERVERS = "bare,embedded,cluster1,cluster2"


def main() -> None:
    """Run every row against every server, as often as asked; print medians."""
    options = arguments()
    rows = [row for row in ROWS if not options.rows or any(part in row.name for part in options.rows)]
    targets = targets_of(options)
    if not rows:
        sys.exit(f"no row's name contains {' or '.join(options.rows)}; the rows are:\n" + names(ROWS))
    results = run_all(rows, targets, options)
    print("\nMedians:")
    print("\n".join(report.summary(rows, targets, results)))
    compared = report.ratios(rows, targets, results)
    if compared:
        print("\nThis checkout / the other:")
        print("\n".join(compared))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))
    if options.plot:
        plot.rows(rows, targets, results, options.plot)
    if not all(result["ok"] for result in results):
        sys.exit("messages were lost, duplicated, reordered or refused")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", action="append", default=[], help="only rows whose name contains this; repeatable"
    )
    parser.add_argument(
        "--servers", default=DEFAULT_SERVERS, help=f"servers of this project ({DEFAULT_SERVERS})"
    )
    parser.add_argument(
        "--url", action="append", default=[], help="the URL of a running server; repeatable"
    )
    parser.add_argument(
        "--pid", default="", help="its processes, PID,PID, whose CPU time and memory are measured"
    )
    parser.add_argument("--compare", type=Path, help="another checkout, run in turn with this one")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each row, servers in turn (1)")
    parser.add_argument("--seconds", type=float, default=8, help="length of each measured window (8)")
    parser.add_argument(
        "--most", type=int, default=1_000_000, help="limit of connections, for a small trial"
    )
    parser.add_argument("--json", type=Path, help="write all results to this file")
    parser.add_argument("--plot", type=Path, help="write a plot to this file; needs matplotlib")
    parser.add_argument("--list", action="store_true", help="print the rows and exit")
    options = parser.parse_args()
    if options.list:
        print(names(ROWS))
        sys.exit(0)
    if options.plot:
        picture.check()
    return options


def names(rows: list[Row]) -> str:
    """Return the rows' names, one per line."""
    return "\n".join(row.name for row in rows)


def targets_of(options: argparse.Namespace) -> list[Target]:
    """Return the servers to measure, in the order of each round."""
    given = any(each.startswith("--servers") for each in sys.argv)
    kinds = [] if options.url and not given else options.servers.split(",")
    try:
        targets = []
        for kind in kinds:
            targets.append(local(kind, ROOT, "this" if options.compare else ""))
            if options.compare and kind != "bare":
                targets.append(local(kind, checkout(options.compare), options.compare.name))
        if options.url:
            targets.append(peer(options.url, [int(each) for each in options.pid.split(",") if each]))
    except ValueError as error:
        sys.exit(str(error))
    return targets


def checkout(directory: Path) -> Path:
    """Return the other checkout. Raises ValueError if the directory is not one."""
    try:
        command_module(directory)
    except ValueError as error:
        raise ValueError(f"--compare {error}") from None
    return directory.resolve()


def run_all(rows: list[Row], targets: list[Target], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run every row `--repeat` times, alternating the servers, so that drift affects all of them."""
    results = []
    with tempfile.TemporaryDirectory() as directory:
        wsload = generator.compile_generator(Path(directory))
        for row in rows:
            for turn in range(options.repeat):
                for target in targets:
                    if row.suits(target.kind):
                        result = measure(row, target, wsload, options)
                        results.append({**result, "turn": turn})
                        print(report.run_line(target, row, result), flush=True)
    return results


def measure(row: Row, target: Target, wsload: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one row on a server started for it alone."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        settings = row.settings(directory) if callable(row.settings) else row.settings
        with target.open(directory, settings, row.app) as server:
            done = row.run(Run(server, wsload, directory, options.seconds, options.most))
    return {"server": target.label, "kind": target.kind, "version": target.version, "row": row.name, **done}


if __name__ == "__main__":
    main()
