"""Compiles the load generator wsload with cc, runs it next to the server, and reads its report."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.servers import Server

SOURCE = Path(__file__).with_name("wsload.c")


def compile_generator(directory: Path) -> Path:
    """Return the path of the compiled load generator; exit if there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("a C compiler (cc) is needed for the load generator scripts/bench/wsload.c")
    binary = directory / "wsload"
    subprocess.run([compiler, "-O2", "-o", binary, SOURCE], check=True)
    return binary


def run(wsload: Path, server: Server, arguments: Sequence[str]) -> dict[str, Any]:
    """Run the generator; return its report."""
    return finished(start(wsload, server, arguments))


def start(wsload: Path, server: Server, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start the generator without waiting for its end."""
    pids = ["--pid", ",".join(map(str, server.pids))] if server.pids else []
    command = [str(wsload), *arguments, "-H", ",".join(server.hosts), *pids]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(running: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """Wait for the generator's end; return its report."""
    output, errors = running.communicate()
    lines = output.splitlines()
    if not lines:
        return {"ok": False, "error": errors.decode(errors="replace")[-300:]}
    report: dict[str, Any] = json.loads(lines[-1])
    joined = report.get("joined")
    if joined and "join_server_cpu_s" in report:
        report["join_cpu_ms"] = 1000 * report["join_server_cpu_s"] / joined
    if "rss_per_conn" in report:
        report["kb_per_conn"] = report["rss_per_conn"] / 1000
    return report
