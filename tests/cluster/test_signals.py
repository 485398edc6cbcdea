"""A signal is always heard: while the application is imported, while a handler blocks, and a second time."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, Process
from tests.support.until import PATIENCE, until_sync
from tests.support.websocket import PhoenixClient, run

APP = "tests.support.logging_app:endpoint"


@contextlib.contextmanager
def started(directory, *arguments, env=None, within=()):
    """A node that ends as the test wants; it is gone afterwards in any case."""
    process = Process(directory, *arguments, env=env, within=within)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.kill()


def block(process, url, event):
    """Have a handler hold up the event loop."""

    async def push():
        client = await PhoenixClient.connect(url)
        await client.join("room:1")
        client.cast("room:1", event, {})
        until_sync(lambda: "blocks" in process.log())

    run(push())


@pytest.mark.parametrize(
    ("event", "number"),
    [("sleep", signal.SIGINT), ("compute", signal.SIGINT), ("compute", signal.SIGTERM)],
)
def test_the_second_signal_ends_a_node_whose_handler_blocks(tmp_path, event, number):
    with started(tmp_path, "serve", APP, "--port", "0") as process:
        block(process, process.url(), event)
        process.popen.send_signal(number)
        until_sync(lambda: not pending(process.pid, number))
        assert process.popen.poll() is None
        process.popen.send_signal(number)
        assert process.popen.wait(PATIENCE) == -number


def pending(pid, number):
    """Whether the kernel has not delivered the signal yet."""
    with open(f"/proc/{pid}/status") as status:
        (pending,) = re.findall(r"^ShdPnd:\t(\w+)$", status.read(), re.M)
    return int(pending, 16) >> (number - 1) & 1


@pytest.mark.parametrize("event", ["thread", "ignore"])
def test_a_callback_that_never_ends_does_not_keep_a_stopped_node(tmp_path, event):
    with started(tmp_path, "serve", APP, "--port", "0") as process:
        block(process, process.url(), event)
        assert process.stop() == 0
        assert "code of the application still runs" in process.log()


@pytest.mark.parametrize("command", ["serve", "cluster"])
def test_a_thread_that_never_ends_does_not_keep_a_stopped_process(tmp_path, command):
    with started(tmp_path, command, APP, "--port", "0", env={"THREAD": "1"}) as process:
        process.url()
        assert process.stop() == 0
        assert "did not stop within" not in process.log()


def test_a_thread_that_never_ends_does_not_keep_a_node_that_cannot_start(tmp_path):
    with started(tmp_path, "serve", APP, "--host", "192.0.2.1", env={"THREAD": "1"}) as process:
        assert process.popen.wait(PATIENCE) == 1
        assert "cannot listen" in process.log()


def test_the_second_signal_ends_a_cluster_whose_worker_blocks(tmp_path):
    arguments = ["cluster", APP, "--port", "0", "--gateways", "1", "--workers", "1"]
    with started(tmp_path, *arguments) as process:
        url = process.wait_for(r"gateway\.1 +│ +listening +(http://\S+)")[1]
        process.wait_for(r"worker\.1 +│ +link")
        block(process, url, "compute")
        process.popen.send_signal(signal.SIGINT)
        process.wait_for("stopping")
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.wait(PATIENCE) == 0
        pids = [int(pid) for pid in re.findall(r"started, pid (\d+)", process.log())]
        assert len(pids) == 3
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("serve", signal.SIGTERM),
        ("cluster", signal.SIGTERM),
        ("serve", signal.SIGINT),
        ("worker", signal.SIGHUP),
    ],
)
def test_a_signal_during_the_import_ends_the_start(tmp_path, command, number):
    with started(tmp_path, command, APP, env={"SLOW_IMPORT": "1"}) as process:
        process.wait_for("importing")
        process.popen.send_signal(number)
        assert process.popen.wait(PATIENCE) == 128 + number
        assert "Traceback" not in process.log()
        assert "pid" not in process.log()


def test_an_application_that_swallows_the_signal_is_not_started(tmp_path):
    with started(tmp_path, "serve", APP, "--port", "0", env={"SLOW_IMPORT": "swallow"}) as process:
        process.wait_for("importing")
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 128 + signal.SIGTERM
        assert "http://" not in process.log()


def test_a_signal_while_a_clusters_children_start_leaves_none(tmp_path):
    with started(tmp_path, "cluster", APP, "--port", "0") as process:
        process.wait_for(r"gateway\.2 +│ started, pid")
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
        pids = [int(pid) for pid in re.findall(r"started, pid (\d+)", process.log())]
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_a_hang_up_drains_a_node_and_nohup_keeps_it(tmp_path):
    (tmp_path / "nohup").mkdir()
    with started(tmp_path, "serve", APP, "--port", "0") as node:
        node.url()
        node.popen.send_signal(signal.SIGHUP)
        assert node.popen.wait(PATIENCE) == 0
        assert "stopping" in node.log()
    with started(tmp_path / "nohup", "serve", APP, "--port", "0", within=["nohup"]) as kept:
        kept.url()
        kept.popen.send_signal(signal.SIGHUP)
        assert kept.popen.poll() is None
        assert kept.stop() == 0


def test_a_cluster_stops_when_its_terminal_is_closed(tmp_path):
    status_file = tmp_path / "status.json"
    master, terminal = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "mesh",
        "cluster",
        APP,
        "--port",
        "0",
        "--gateways",
        "1",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--status-file", str(status_file)],
        cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    printed = b""

    def up():
        nonlocal printed
        printed += os.read(master, 65_536)
        return printed.count(b"application") == 3

    try:
        until_sync(up)
        os.close(master)
        assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)
