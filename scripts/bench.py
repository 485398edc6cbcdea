"""Measures fan-out, echo and joins, embedded and as a cluster, with the load generator beside it.

    python scripts/bench.py [--seconds 8] [--json FILE] [--only fanout]

The generator (scripts/bench/wsload.c) is compiled with cc, checks that nothing is lost, doubled or
reordered, and counts the CPU time of every process of the server. Compare messages per CPU-second.
"""

import argparse
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
APP = "examples.conformance:endpoint"


class Row(NamedTuple):
    """One kind of work."""

    name: str
    arguments: str


ROWS = [
    Row("fanout 1 x 1000, window 8", "fanout -n 1000 --topics 1 --pubs 1 --rate max --window 8 --ack own"),
    Row("fanout 1 x 1000, 40 per second", "fanout -n 1000 --topics 1 --pubs 1 --rate 40"),
    Row(
        "fanout 100 x 10, window 1",
        "fanout -n 1000 --topics 100 --pubs 100 --rate max --window 1 --ack own",
    ),
    Row("echo 100, window 1", "echo -n 100 --window 1"),
    Row("echo 100, window 16", "echo -n 100 --window 16"),
    Row("joinstorm 5000", "joinstorm -n 5000 --src 4"),
]


class Server(NamedTuple):
    """A running server: where, and which processes it is made of."""

    name: str
    hosts: list[str]
    pids: list[int]


def main() -> None:
    """Run every row against every kind of server; print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=8, help="of each measured window")
    parser.add_argument("--json", type=Path, help="write all that the generator reports")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only in row.name]
    results = []
    with tempfile.TemporaryDirectory() as directory:
        wsload = compile_generator(Path(directory))
        for kind in (embedded, cluster_of_one, cluster_of_two):
            with kind(Path(directory)) as server:
                for row in rows:
                    result = measure(wsload, server, row, options.seconds)
                    results.append(result)
                    print(line(result), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if not all(result["ok"] for result in results):
        sys.exit("something was lost, doubled, reordered or refused")


def compile_generator(directory: Path) -> Path:
    """The path of the compiled load generator."""
    compiler = shutil.which("cc") or sys.exit("a C compiler (cc) is needed for the load generator")
    binary = directory / "wsload"
    subprocess.run([compiler, "-O2", "-o", binary, HERE / "bench" / "wsload.c"], check=True)
    return binary


def measure(wsload: Path, server: Server, row: Row, seconds: int) -> dict[str, Any]:
    """Run one row; the generator's report with our names added."""
    window = [] if row.arguments.startswith("joinstorm") else ["--size", "100", "-s", str(seconds)]
    where = ["-H", ",".join(server.hosts), "--pid", ",".join(map(str, server.pids))]
    done = subprocess.run(
        [wsload, *row.arguments.split(), *window, *where], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return {"server": server.name, "row": row.name, **json.loads(done.stdout.splitlines()[-1])}


def line(result: dict[str, Any]) -> str:
    """One row of the table."""
    if "joins_per_s" in result:
        cost = 1000 * result["join_server_cpu_s"] / result["joined"]
        figures = f"{result['joins_per_s']:>9.0f} joins/s  {cost:.2f} ms CPU per connect and join"
    else:
        figures = (
            f"{result['msgs_per_server_cpu_s']:>9.0f} per CPU-second"
            f"  {result['server_us_per_msg']:6.2f} us each  p99 {result['lat_ms_p99']:.1f} ms"
        )
    return f"{result['server']:<22} {result['row']:<32} {figures}  {'ok' if result['ok'] else 'NOT OK'}"


@contextlib.contextmanager
def embedded(directory: Path) -> Iterator[Server]:
    """`mesh serve`."""
    log = directory / "serve.log"
    with node(["serve", APP, "--port", "0"], log) as process:
        found = wait_for(lambda: re.search(r"http://(\S+:\d+)", log.read_text()))
        yield Server("embedded", [found[1]], [process.pid])


@contextlib.contextmanager
def cluster_of_one(directory: Path) -> Iterator[Server]:
    """One gateway, one worker, one proxy."""
    with cluster(directory, 1) as server:
        yield server


@contextlib.contextmanager
def cluster_of_two(directory: Path) -> Iterator[Server]:
    """Two gateways, one worker, one proxy."""
    with cluster(directory, 2) as server:
        yield server


@contextlib.contextmanager
def cluster(directory: Path, gateways: int) -> Iterator[Server]:
    """`mesh cluster`; its supervisor, which only waits, is not counted."""
    status_file = directory / f"status-{gateways}.json"
    command = ["cluster", APP, "--port", "0", "--gateways", str(gateways), "--workers", "1"]
    with node([*command, "--status-file", str(status_file)], directory / "cluster.log"):
        wait_for(lambda: status_file.exists() and all(pids_of(json.loads(status_file.read_text()))))
        time.sleep(2)  # let the nodes find each other: a measured window must not contain that
        status = json.loads(status_file.read_text())
        hosts = [each["url"].removeprefix("http://") for each in status["gateways"]]
        yield Server(f"{gateways} gw + 1 worker + proxy", hosts, pids_of(status))


def pids_of(status: dict[str, Any]) -> list[int]:
    """Of all nodes of a cluster."""
    return [node["pid"] for node in [*status["proxies"], *status["workers"], *status["gateways"]]]


@contextlib.contextmanager
def node(arguments: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A `mesh …` process, stopped at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "nodes", *arguments], stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_for(condition: Any) -> Any:
    """What `condition` returns once it is true."""
    end = time.monotonic() + 30
    while not (result := condition()):
        if time.monotonic() > end:
            sys.exit("the server did not start within 30 s")
        time.sleep(0.05)
    return result


if __name__ == "__main__":
    main()
