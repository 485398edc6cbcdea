"""Measures how costs grow with subscribers, topics, connections and gateways; fits docs/scaling.md's model.

    python scripts/growth.py --json growth.json --plot growth.png
    python scripts/growth.py --parts subscribers,bus --seconds 3 --most 1000

Everything runs on a cluster of one gateway, one worker and one proxy, except the part "bus", which starts
one, two and four gateways with a proxy over TCP, and reads from the kernel how many bytes each received.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import bus_growth, bus_load, constants, generator, plot, topics_load
from bench.machine import machine
from bench.report import disturbed
from bench.row import Report, Run
from bench.servers import APP, local
from harness import picture

DELIVERIES_PER_SECOND = 60_000
BROADCASTS_PER_SECOND = 5_000
SUBSCRIBERS = (10, 100, 1_000, 10_000)
TOPICS = (1, 100, 10_000, 100_000)
CONNECTIONS = (1_000, 5_000, 10_000, 19_900)
GATEWAYS = (1, 2, 4)
BUS_SECONDS = 3.0
"""Bytes are counted, not seconds: a short run shows the same."""
PROXY_LOADS = ((1, 5_000), (16, 5_000), (1, 100_000))
"""(the number of nodes that a broadcast is relayed to, broadcasts per second)."""
PARTS = ("subscribers", "topics", "connections", "bus", "proxy")


def main() -> None:
    """Run the parts, print a table, and write the files asked for."""
    options = arguments()
    results: dict[str, list[Report]] = {}
    with tempfile.TemporaryDirectory() as directory:
        wsload = generator.compile_generator(Path(directory))
        for part in options.parts.split(","):
            results[part] = MEASURES[part](wsload, options)
    fitted = constants.fit(results)
    print("\nConstants for docs/scaling.md:\n" + json.dumps(fitted, indent=1))
    if options.json:
        written = {"machine": machine(), "constants": fitted, "results": results}
        options.json.write_text(json.dumps(written, indent=1))
    if options.constants:
        constants.write(options.constants, fitted)
    if options.plot:
        plot.growth(results, options.plot)
    if not all(each["ok"] for rows in results.values() for each in rows):
        sys.exit("messages were lost, duplicated, reordered or refused")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help=f"the parts to run, of {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=8, help="length of each measured window (8)")
    parser.add_argument("--most", type=int, default=100_000, help="leave out steps above this number")
    parser.add_argument("--json", type=Path, help="write all results and the constants to this file")
    parser.add_argument("--constants", type=Path, help="update this file with the fitted constants")
    parser.add_argument("--plot", type=Path, help="write a plot to this file; needs matplotlib")
    options = parser.parse_args()
    unknown = set(options.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; want {', '.join(PARTS)}")
    if options.plot:
        picture.check()
    return options


def subscribers(wsload: Path, options: argparse.Namespace) -> list[Report]:
    """Measure the cost per delivery by the members of one topic, at 60,000 deliveries per second."""
    rows = []
    for number in _up_to(SUBSCRIBERS, options):
        rate = DELIVERIES_PER_SECOND / number
        work = f"fanout -n {number} --topics 1 --pubs 1 --rate {rate} --src 4 --hb 0 -s {options.seconds}"
        rows.append(_row(wsload, options, {"subscribers": number}, _wsload(work)))
    return rows


def topics(wsload: Path, options: argparse.Namespace) -> list[Report]:
    """Measure the cost per broadcast by the number of topics, each with one member."""
    return [
        _row(
            wsload,
            options,
            {"topics": number},
            topics_load.rotating(number, BROADCASTS_PER_SECOND),
            topics_load.SETTINGS,
        )
        for number in _up_to(TOPICS, options)
    ]


def connections(wsload: Path, options: argparse.Namespace) -> list[Report]:
    """Measure the cost per connect and join, and the memory, by the number of connections."""
    rows = []
    for number in _up_to(CONNECTIONS, options):
        work = f"hold -n {number} --per-topic 10 --src 4 --settle 2 --hb 30 -s {options.seconds}"
        rows.append(_row(wsload, options, {"connections": number}, _wsload(work)))
    return rows


def bus(wsload: Path, options: argparse.Namespace) -> list[Report]:
    """Measure how many times the bus carries a broadcast, by the number of gateways."""
    seconds = min(BUS_SECONDS, options.seconds)
    return [_print_row(bus_growth.measure(wsload, number, seconds)) for number in _up_to(GATEWAYS, options)]


def proxy(wsload: Path, options: argparse.Namespace) -> list[Report]:
    """Measure the proxy's cost per broadcast, by the number of nodes that it is relayed to."""
    return [
        _row(wsload, options, {"gateways": number, "rate": rate}, bus_load.through_the_proxy(rate, number))
        for number, rate in PROXY_LOADS
    ]


MEASURES: dict[str, Callable[[Path, argparse.Namespace], list[Report]]] = {
    "subscribers": subscribers,
    "topics": topics,
    "connections": connections,
    "bus": bus,
    "proxy": proxy,
}


def _up_to(numbers: tuple[int, ...], options: argparse.Namespace) -> list[int]:
    return [number for number in numbers if number <= options.most]


def _wsload(arguments: str) -> Callable[[Run], Report]:
    return lambda run: generator.run(run.wsload, run.server, arguments.split())


def _row(
    wsload: Path,
    options: argparse.Namespace,
    names: dict[str, int],
    work: Callable[[Run], Report],
    settings: Any = None,
) -> Report:
    """Run one step on its own cluster."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with local("cluster1").open(directory, settings or {}, APP) as server:
            report = {**names, **work(Run(server, wsload, directory, options.seconds))}
            return _print_row({**report, **constants.by_part(report, server)})


SHOWN = {
    "subscribers": "{:>7,} subscribers",
    "topics": "{:>7,} topics",
    "connections": "{:>7,} connections",
    "gateways": "{:>7,} gateways",
    "server_us_per_msg": "{:7.2f} us each",
    "join_cpu_ms": "{:.3f} ms CPU per connect and join",
    "kb_per_conn": "{:.2f} kB each",
    "proxy_us_per_msg": "{:.2f} us of the proxy each",
    "copies_per_gateway": "each broadcast came {:.3f} times to each gateway",
}


def _print_row(report: Report) -> Report:
    first = [key for key in ("subscribers", "connections", "gateways") if key in report][:1] or ["topics"]
    keys = first + [key for key in SHOWN if key not in ("subscribers", "connections", "gateways", "topics")]
    words = [SHOWN[key].format(report[key]) for key in keys if report.get(key) is not None]
    state = "ok" if report["ok"] else f"NOT OK {report.get('error', '')}"
    print("  ".join(words), f" {state}", "DISTURBED" if disturbed(report) else "", flush=True)
    return report


if __name__ == "__main__":
    main()
