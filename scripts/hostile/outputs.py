"""Clusters whose output cannot be written: a killed worker must be restarted all the same."""

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from harness.processes import START_SECONDS, Cluster
from harness.websocket import frame, upgrade
from hostile.inputs import Observation

APP = "scripts.chaos.app:endpoint"
COUNTS = {"gateways": 1, "workers": 2, "proxies": 1}
RESTART_SECONDS = 60.0
PIPE_BYTES = 4_096
LOGGED_MESSAGES = 2_000
"""The number of joins and leaves, whose log lines fill an output that nobody reads."""


@contextlib.contextmanager
def full_disk() -> Iterator[int]:
    """Make an output whose writes fail with "no space left on device"."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        yield full.fileno()


@contextlib.contextmanager
def gone_reader() -> Iterator[int]:
    """Make an output whose writes fail with "broken pipe"."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@contextlib.contextmanager
def silent_reader() -> Iterator[int]:
    """Make an output whose writes block once a few lines are in the pipe."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


OUTPUTS = {"full disk": full_disk, "reader gone": gone_reader, "nobody reads": silent_reader}


def killed_worker(name: str, directory: Path) -> Observation:
    """Kill a worker of a cluster with that output, after a client has caused many log lines."""
    directory.mkdir()
    with OUTPUTS[name]() as output, Cluster(APP, directory, COUNTS, {}, output=output) as cluster:
        if not _until(cluster.ready, cluster, START_SECONDS):
            return Observation(wrong=["the cluster did not start"])
        _cause_log_lines(int(cluster.status()["gateways"][0]["url"].rpartition(":")[2]))
        pid = cluster.status()["workers"][0]["pid"]
        started = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        if not _until(lambda: _restarted(cluster, pid), cluster, RESTART_SECONDS):
            return Observation(wrong=[f"the worker was not restarted within {RESTART_SECONDS:g} s"])
        return Observation(
            f"a killed worker was back and the gateway ready after {time.monotonic() - started:.1f} s"
        )


def _until(condition: Callable[[], bool], cluster: Cluster, seconds: float) -> bool:
    """Return whether a condition becomes true in time, before the cluster ends."""
    deadline = time.monotonic() + seconds
    while cluster.alive() and time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _restarted(cluster: Cluster, pid: int) -> bool:
    return cluster.status()["workers"][0]["pid"] not in (None, pid) and cluster.ready()


def _cause_log_lines(port: int) -> None:
    """Join and leave many times, without waiting for replies."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(upgrade())
        for number in range(LOGGED_MESSAGES // 2):
            for event in ("phx_join", "phx_leave"):
                ref = str(number)
                sock.sendall(frame(msgspec.json.encode((ref, ref, "room:chatter", event, {}))))
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while sock.recv(65_536):
                pass
