"""Measures how many times the bus carries a broadcast, from the bytes that each gateway received.

The nodes use a proxy over TCP; `ss` reports how many bytes each connection from the proxy to a gateway's
subscriber has received. Broadcasts of 10 kB dominate the mesh's own small messages.
"""

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import generator
from bench.row import Report
from bench.servers import APP, Server, listening
from harness.processes import Process, free_port, wait_for
from mesh.addresses import subscribe_address

PAYLOAD_BYTES = 10_000
MEMBERS = 40
BROADCASTS_PER_SECOND = 20
WARM_SECONDS = 0.5
SETTLE_SECONDS = 3.0


def measure(wsload: Path, gateways: int, seconds: float) -> Report:
    """Broadcast for some seconds to a topic that has members on every gateway."""
    with tempfile.TemporaryDirectory() as name, spread(Path(name), gateways) as server:
        before = received(server)
        work = f"fanout -n {MEMBERS} --topics 1 --pubs 1 --rate {BROADCASTS_PER_SECOND} --hb 0"
        sizes = f"--size {PAYLOAD_BYTES} -s {seconds} --warmup {WARM_SECONDS}"
        report = generator.run(wsload, server, f"{work} {sizes}".split())
        after = received(server)
    sent = max(1, report.get("sent_total", 0))
    copies = [(after[pid] - before[pid]) / (sent * PAYLOAD_BYTES) for pid in server.parts["gateway"]]
    once = all(round(each) == 1 for each in copies)
    return {
        **report,
        "gateways": gateways,
        "copies": copies,
        "copies_per_gateway": max(copies),
        "ok": report["ok"] and once,
    }


@contextlib.contextmanager
def spread(directory: Path, gateways: int) -> Iterator[Server]:
    """Run a proxy over TCP, a worker, and gateways."""
    address = f"tcp://127.0.0.1:{free_port(2)}"
    with contextlib.ExitStack() as stack:

        def start(name: str, *arguments: str) -> Process:
            secret = {"MESH_SECURITY__SECRET_KEY": "only-for-this-measurement"}
            return stack.enter_context(Process(arguments, directory / f"{name}.log", secret))

        proxy = start("proxy", "proxy", "--bind", address)
        worker = start("worker", "worker", APP, "--proxy", address)
        fronts = [
            start(f"gateway-{each}", "gateway", APP, "--proxy", address, "--port", "0")
            for each in range(gateways)
        ]
        hosts = [wait_for(lambda front=each: listening(front), each) for each in fronts]
        time.sleep(SETTLE_SECONDS)
        parts = {"proxy": [proxy.pid], "worker": [worker.pid], "gateway": [each.pid for each in fronts]}
        yield Server(hosts, parts, [address], proxy.log)


def received(server: Server) -> dict[int, int]:
    """Return the bytes that each gateway has received from the proxy's port for subscribers."""
    if shutil.which("ss") is None:
        sys.exit("ss (iproute2) is needed to count the bytes on the bus")
    port = subscribe_address(server.proxies[0]).rpartition(":")[2]
    lines = subprocess.run(
        ["ss", "-Htinp", "state", "established", "dport", "=", f":{port}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.replace("\n\t", " ")
    counts = dict.fromkeys(server.parts["gateway"], 0)
    for line in lines.splitlines():
        pid, size = re.search(r"pid=(\d+)", line), re.search(r"bytes_received:(\d+)", line)
        if pid and size and int(pid[1]) in counts:
            counts[int(pid[1])] += int(size[1])
    return counts
