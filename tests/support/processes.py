"""Real nodes in real processes."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path

from mesh.nodes.cluster.readiness import wait_until_ready
from tests.support.http import request
from tests.support.until import PATIENCE, until_sync

ROOT = Path(__file__).parents[2]
OUR_FAULT = "handling a message failed"
"""What a node logs when its own code raised; no test may provoke that."""
ORDER = {"MESH_LINK__HOLD_SECONDS": "10"}
"""For tests of the order of broadcasts and replies: by default a late broadcast is waited for a quarter of a second."""
PATIENT = {"COLUMNS": "300", "MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "600"}
"""Of every node: the clients of the tests send no heartbeats, and on a busy machine a test takes minutes."""
URL = re.compile(r"http://[^\s/]+:\d+")


def rss(pid):
    """The bytes of memory that a process has resident."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Process:
    """`mesh …` as a child; what it prints goes to a file."""

    def __init__(self, directory, *arguments, env=None, within=()):
        self.log_file = Path(directory) / f"{arguments[0]}-{len(list(Path(directory).iterdir()))}.log"
        with self.log_file.open("w") as log:
            self.popen = subprocess.Popen(
                [*within, sys.executable, "-m", "mesh", *arguments],
                cwd=ROOT,
                env={**os.environ, **PATIENT, **(env or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def pid(self):
        return self.popen.pid

    def log(self):
        return self.log_file.read_text(errors="replace")

    def wait_for(self, pattern):
        def found():
            match = re.search(pattern, self.log())
            if not match:
                assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.log()}"
            return match

        return until_sync(found)

    def url(self):
        return self.wait_for(URL).group()

    def kill(self):
        self.popen.kill()
        self.popen.wait(PATIENCE)

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextlib.contextmanager
def node(directory, *arguments, env=None, within=()):
    """One `mesh …` command, as `node(path, "proxy")`; at the end it must stop cleanly.

    `within` is a command that runs it elsewhere.
    """
    process = Process(directory, *arguments, env=env, within=within)
    try:
        yield process
    finally:
        assert process.stop() == 0, process.log()
        assert OUR_FAULT not in process.log(), process.log()


@contextlib.contextmanager
def serve(directory, app, *arguments, env=None):
    """An embedded server; gives (process, url)."""
    with node(directory, "serve", app, "--port", "0", *arguments, env=env) as process:
        yield process, process.url()


class Cluster:
    """`mesh cluster` and what its status file says."""

    def __init__(self, directory, app, gateways=2, workers=2, proxies=1, env=None):
        self.status_file = Path(directory) / "status.json"
        self.process = Process(
            directory,
            "cluster", app, "--port", "0", "--gateways", str(gateways), "--workers", str(workers),
            "--proxies", str(proxies),
            "--status-file", str(self.status_file),
            env={"MESH_LOG__LEVEL": "debug", **(env or {})},
        )  # fmt: skip
        self._links = gateways * workers
        self._disturbed = False

    def wait_started(self):
        """Until every node runs and every gateway is linked to every worker."""
        until_sync(self._all_started)
        self.wait_linked(self._links)

    def _all_started(self):
        assert self.process.popen.poll() is None, self.process.log()
        if not self.status_file.exists():
            return False
        status = self.status
        return all(node["pid"] for node in [*status["proxies"], *status["workers"], *status["gateways"]])

    @property
    def status(self):
        return json.loads(self.status_file.read_text())

    @property
    def urls(self):
        return [each["url"] for each in self.status["gateways"]]

    def wait_linked(self, links):
        """Until that many links between gateways and workers have come up since the start."""
        until_sync(lambda: self.links() >= links)

    def links(self):
        """How many have come up since the start."""
        return self.process.log().count("linked to worker")

    def restore(self):
        """If a signal was sent to a node, wait until all nodes work together again."""
        if self._disturbed:
            self.wait_until_ready()
            self._disturbed = False

    def wait_until_ready(self):
        """Until all nodes work together, after what was done to some; they need an `admin.port`."""
        proxies = [each["address"] for each in self.status["proxies"]]
        asyncio.run(wait_until_ready(proxies, self.urls, len(self.status["workers"]), PATIENCE))
        until_sync(lambda: all(map(self._all_linked, ("workers", "gateways"))))

    def _all_linked(self, kind):
        wanted = len(self.status["gateways" if kind == "workers" else "workers"])
        return all(self.metric(each["name"], "links") == wanted for each in self.status[kind])

    def metric(self, name, metric):
        """Of the node of this name; None while it starts again."""
        try:
            body = request(f"{self.admin(name)}/metrics")[1]
        except (OSError, HTTPException):
            return None
        return float(re.search(rf"^mesh_{metric} (\S+)", body, re.M)[1])

    def admin(self, name):
        """Where the node of this name answers operators."""
        return self.address(name, "admin")

    def address(self, name, kind):
        """What the node of this name printed last beside `kind`: "admin", "zeromq", "link" or "listening"."""
        printed = rf"^{re.escape(name)} +│ +{kind} +(\S+)"
        return until_sync(lambda: re.findall(printed, self.log(), re.M))[-1]

    def kill(self, kind, index=0, number=signal.SIGKILL):
        """Send a signal to one node; returns its pid."""
        self._disturbed = True
        pid = self.status["proxies" if kind == "proxy" else kind][index]["pid"]
        os.kill(pid, number)
        return pid

    def wait_restarted(self, kind, index, old_pid):
        def restarted():
            node = self.status["proxies" if kind == "proxy" else kind][index]
            return node["pid"] not in (None, old_pid)

        until_sync(restarted)

    def pids(self):
        """Of every node ever started, those that were killed and replaced included."""
        return [int(pid) for pid in re.findall(r"started, pid (\d+)", self.log())]

    def log(self):
        return self.process.log()


@contextlib.contextmanager
def cluster(directory, app, gateways=2, workers=2, proxies=1, env=None):
    """A cluster; at the end it must stop cleanly and leave no process."""
    running = Cluster(directory, app, gateways, workers, proxies, env)
    try:
        running.wait_started()
        yield running
    finally:
        code = running.process.stop()
        assert code == 0, running.log()
        assert OUR_FAULT not in running.log(), running.log()
        until_sync(lambda: not any(_is_node(pid) for pid in running.pids()))


def _is_node(pid):
    """Whether it is alive and one of ours: the kernel may have given the number to another."""
    try:
        os.kill(pid, 0)
        return b"mesh" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (ProcessLookupError, FileNotFoundError):
        return False
