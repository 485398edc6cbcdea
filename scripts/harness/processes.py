"""Runs `mesh …` in separate processes; all scripts start, await and stop their nodes with it."""

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
LOG_TAIL_CHARACTERS = 10_000
"""The length of the end of a log, shown when a process does not start."""
KINDS = ("proxies", "workers", "gateways")

Found = TypeVar("Found")


def command_module(checkout: Path) -> str:
    """Return the module that is the `mesh` command of a checkout.

    Raises:
        ValueError: if the directory is not a checkout of this project.
    """
    for module in ("mesh", "nodes"):  # older checkouts have the command in nodes
        if (checkout / module / "__main__.py").exists():
            return module
    raise ValueError(f"{checkout} is not a checkout of this project: mesh/__main__.py is missing")


class Process:
    """A `mesh …` command of a checkout, stopped at the end of a `with` block.

    Args:
        arguments: the arguments of the command.
        log: the file for everything that it prints.
        settings: environment variables in addition to ours; no settings file is read.
        checkout: the checkout whose code runs, in its own virtual environment if it has one.
        program: another Python program, instead of the `mesh` command.
        output: a descriptor for everything that it prints, instead of the log.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        settings: Mapping[str, str],
        checkout: Path = ROOT,
        program: Sequence[str] = (),
        output: int | None = None,
    ) -> None:
        self.log = log
        own_python = checkout / ".venv/bin/python"
        python = str(own_python) if own_python.exists() and checkout != ROOT else sys.executable
        with log.open("wb") as file:
            self._popen = subprocess.Popen(
                [python, *(program or ("-m", command_module(checkout))), *arguments],
                cwd=checkout,
                env={**os.environ, "PYTHONPATH": str(checkout), "MESH_CONFIG": os.devnull, **settings},
                stdout=file if output is None else output,
                stderr=file if output is None else output,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        """Return whether it still runs."""
        return self._popen.poll() is None

    def printed(self) -> str:
        """Return everything printed so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL if it still runs, and wait for its end."""
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        """Send SIGTERM, and wait for its end. Raises TimeoutExpired if it had to be killed."""
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
    """A running `mesh cluster`, whose nodes are found through its status file.

    Args:
        app: the application.
        directory: the directory of its log and its status file.
        counts: the number of nodes by kind.
        settings: as for a Process.
        checkout: as for a Process.
        output: as for a Process.
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
        """Return the current contents of the status file."""
        status: dict[str, Any] = json.loads(self._status_file.read_text())
        return status

    def pids(self) -> list[int | None]:
        """Return the pid of every node; None for a node that does not run at the moment."""
        status = self.status()
        return [node["pid"] for kind in KINDS for node in status[kind]]

    def ready(self) -> bool:
        """Return whether every node runs and every gateway is ready."""
        if not self._status_file.exists() or not all(self.pids()):
            return False
        return all(ready(gateway["url"]) for gateway in self.status()["gateways"])


def ready(url: str) -> bool:
    """Return whether a node reports that it is ready."""
    context = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10, context=context) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_for(condition: Callable[[], Found], *processes: Process) -> Found:
    """Wait until `condition` returns a true value, and return it; exit on a time-out or a process's end."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := condition()):
        for each in processes:
            if not each.alive():
                sys.exit(f"{each.log.stem} has ended:\n{each.printed()[-LOG_TAIL_CHARACTERS:]}")
        if time.monotonic() > deadline:
            logs = "\n".join(
                f"{each.log.stem}:\n{each.printed()[-LOG_TAIL_CHARACTERS:]}" for each in processes
            )
            sys.exit(f"not ready within {START_SECONDS:g} s; {logs}")
        time.sleep(0.05)
    return found


_returned: set[int] = set()


def free_port(count: int = 1) -> int:
    """Return a free port whose successors are free as well; each port is returned only once.

    Ports are below the kernel's ephemeral range, whose ports could be taken before the node listens.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        if not _returned.isdisjoint(range(port, port + count)):
            continue
        with contextlib.ExitStack() as stack:
            try:
                for each in range(port, port + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
            except OSError:
                continue
        _returned.update(range(port, port + count))
        return port
