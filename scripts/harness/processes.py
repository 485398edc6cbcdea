"""`mesh …` in processes of their own: scripts start, await and stop their nodes by these alone."""

import contextlib
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180.0
STOP_SECONDS = 180.0
LAST_CHARACTERS = 10_000
"""Of a log, shown when something does not start."""
KINDS = ("proxies", "workers", "gateways")

Found = TypeVar("Found")


class Process:
    """A `mesh …` command of a checkout, stopped at the end of a `with` block.

    Args:
        arguments: of the command.
        log: file for all that it prints.
        settings: environment variables beside ours; no settings file is read.
        checkout: whose code is run, by its own virtual environment if it has one.
        program: another one in Python, instead of `mesh`.
        output: a descriptor that takes what it prints, instead of the log.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        settings: Mapping[str, str],
        checkout: Path = ROOT,
        program: Sequence[str] = ("-m", "nodes"),
        output: int | None = None,
    ) -> None:
        self.log = log
        own = checkout / ".venv/bin/python"
        python = str(own) if own.exists() and checkout != ROOT else sys.executable
        with log.open("wb") as file:
            self._popen = subprocess.Popen(
                [python, *program, *arguments],
                cwd=checkout,
                env={**os.environ, "PYTHONPATH": str(checkout), "MESH_CONFIG": os.devnull, **settings},
                stdout=file if output is None else output,
                stderr=file if output is None else output,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def printed(self) -> str:
        """All so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it one."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, if it still runs, and wait."""
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        """SIGTERM, and wait. Raises TimeoutExpired if it had to be killed."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class Cluster(Process):
    """`mesh cluster`, as its status file shows it.

    Args:
        app: it serves.
        directory: for its log and its status file.
        counts: of its nodes, by kind.
        settings: as of a Process.
        checkout: as of a Process.
        output: as of a Process.
    """

    def __init__(
        self,
        app: str,
        directory: Path,
        counts: Mapping[str, int],
        settings: Mapping[str, str],
        checkout: Path = ROOT,
        output: int | None = None,
    ) -> None:
        self._status_file = directory / "status.json"
        nodes = [f"--{kind}={count}" for kind, count in counts.items()]
        command = ["cluster", app, "--port=0", f"--status-file={self._status_file}", *nodes]
        super().__init__(command, directory / "cluster.log", settings, checkout, output=output)

    def status(self) -> dict[str, Any]:
        """What the file says now."""
        status: dict[str, Any] = json.loads(self._status_file.read_text())
        return status

    def pids(self) -> list[int | None]:
        """Of every node; None for one that does not run now."""
        status = self.status()
        return [node["pid"] for kind in KINDS for node in status[kind]]

    def ready(self) -> bool:
        """Whether every node runs and every gateway is ready."""
        if not self._status_file.exists() or not all(self.pids()):
            return False
        return all(ready(gateway["url"]) for gateway in self.status()["gateways"])


def ready(url: str) -> bool:
    """Whether a node says that it is: the bus answers, a gateway has a worker for each route."""
    anybody = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10, context=anybody) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_for(condition: Callable[[], Found], *processes: Process) -> Found:
    """What `condition` returns once it is true; ends the program if it never is, or a process has ended."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := condition()):
        for each in processes:
            if not each.alive():
                sys.exit(f"{each.log.stem} has ended:\n{each.printed()[-LAST_CHARACTERS:]}")
        if time.monotonic() > deadline:
            logs = "\n".join(f"{each.log.stem}:\n{each.printed()[-LAST_CHARACTERS:]}" for each in processes)
            sys.exit(f"not ready within {START_SECONDS:g} s; {logs}")
        time.sleep(0.05)
    return found


_given: set[int] = set()


def free_port(in_a_row: int = 1) -> int:
    """A port that is free, and the next ones.

    Below those that the kernel gives to clients: one of these could be taken before the node listens.
    Each is given once.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        if not _given.isdisjoint(range(port, port + in_a_row)):
            continue
        with contextlib.ExitStack() as stack:
            try:
                for each in range(port, port + in_a_row):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
            except OSError:
                continue
        _given.update(range(port, port + in_a_row))
        return port
