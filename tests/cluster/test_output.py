"""What a node says, and to whom: nobody who reads, or does not read, its output stops it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.http import request
from tests.support.processes import ROOT, cluster, node
from tests.support.until import PATIENCE, until_sync
from tests.support.websocket import PhoenixClient, run

APP = "tests.support.logging_app:endpoint"
CLUSTER = ["cluster", APP, "--port", "0", "--gateways", "1", "--workers", "1"]


def mesh(*arguments, stdout, env=None):
    return subprocess.Popen(
        [sys.executable, "-m", "mesh", *arguments],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stdout,
        env={**os.environ, "COLUMNS": "300", **(env or {})},
    )  # fmt: skip


@contextlib.contextmanager
def output_to(kind):
    """A descriptor to print to: nobody reads it, its reader has gone, or its disk is full."""
    if kind == "full":
        writer = os.open("/dev/full", os.O_WRONLY)
        yield writer
    else:
        reader, writer = os.pipe()
        if kind == "gone":
            os.close(reader)
        yield writer
        if kind == "unread":
            os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("kind", ["unread", "gone", "full"])
def test_a_killed_node_is_restarted_whatever_becomes_of_the_output(tmp_path, kind):
    status_file = tmp_path / "status.json"
    with output_to(kind) as descriptor:
        process = mesh(
            *CLUSTER, "--status-file", str(status_file),
            stdout=descriptor,
            env={"MESH_LOG__LEVEL": "debug", "MESH_LOG__SIMILAR_LINES_PER_SECOND": "0", "LOGGING": "by chance"},
        )  # fmt: skip
        try:

            def status():
                return json.loads(status_file.read_text()) if status_file.exists() else {}

            def answers():
                with contextlib.suppress(OSError, KeyError):
                    return request(status()["gateways"][0]["url"] + "/socket/longpoll")[0] == 200

            until_sync(answers)

            async def talk():  # more than a pipe takes, in lines of both nodes
                client = await PhoenixClient.connect(status()["gateways"][0]["url"])
                await client.join("room:1")
                for _ in range(800):
                    await client.push("room:1", "print", {"text": "x" * 100})
                client.close()

            run(talk())
            for nodes in ("workers", "gateways"):
                old = status()[nodes][0]["pid"]
                os.kill(old, signal.SIGKILL)
                until_sync(lambda nodes=nodes, old=old: status()[nodes][0]["pid"] not in (None, old))
            until_sync(answers)
        finally:
            process.terminate()
            code = process.wait(PATIENCE)
    assert code == 0


def records_of(log, format):
    lines = log.splitlines()
    if format == "json":
        return [json.loads(line) for line in lines]
    pairs = [re.findall(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)', line) for line in lines]
    return [{key: value.strip('"') for key, value in each} for each in pairs]


@pytest.mark.parametrize("format", ["json", "logfmt"])
def test_every_line_of_a_cluster_is_a_record_with_the_nodes_name(tmp_path, format):
    own = {"LOGGING": "dictConfig", "LOGGING_LEVEL": "DEBUG"} if format == "json" else {}
    env = {"MESH_LOG__FORMAT": format, "PROGRAM": "1", **own}
    with cluster(tmp_path, APP, 1, 1, env=env) as running:

        async def talk():
            client = await PhoenixClient.connect(running.urls[0])
            await client.join("room:1")
            await client.push("room:1", "print")
            client.cast("room:1", "crash", {})
            await client.event("phx_error")
            client.close()

        run(talk())
        pid = running.kill("workers", number=signal.SIGABRT)
        running.wait_restarted("workers", 0, pid)
        until_sync(lambda: "printed by a handler" in running.log() and "ValueError" in running.log())
    found = records_of(running.log(), format)
    assert {each["node"] for each in found} == {"cluster", "proxy.1", "worker.1", "gateway.1"}
    events = {(each["node"], each["event"]) for each in found if "event" in each}
    assert ("worker.1", "printed by a handler") in events
    assert ("cluster", "printed at import") in events
    assert ("cluster", "started") in events
    for name in ("cluster", "worker.1", "gateway.1"):
        for text in ("printed by a program", "and an error of it", "written without sys.stdout"):
            assert (name, text) in events
    assert any(name == "worker.1" and "was killed by SIGABRT" in event for name, event in events)
    assert any(name == "worker.1" and "logged by the application" in event for name, event in events)


def test_every_line_of_a_single_node_is_a_record(tmp_path):
    env = {"MESH_LOG__FORMAT": "json", "MESH_LOG__NODE": "shop-1", "LOGGING": "by chance"}
    with node(tmp_path, "serve", APP, "--port", "0", env=env) as process:
        url = process.url()
        assert request(f"{url}/socket/longpoll?raise=1&accessToken=SECRET&vsn=2.0.0")[0] == 500
        process.wait_for("no such user")
    found = records_of(process.log(), "json")
    assert {each["node"] for each in found} == {"shop-1"}
    assert "SECRET" not in process.log()
    assert any(each.get("open") == url for each in found)


def test_the_applications_own_logging_is_kept_and_hears_of_ours(tmp_path):
    with node(tmp_path, "serve", APP, "--port", "0", env={"LOGGING": "dictConfig"}) as process:
        url = process.url()

        async def talk():
            client = await PhoenixClient.connect(url)
            await client.join("room:1")
            await client.push("room:1", "print")
            client.cast("room:1", "crash", {})
            await client.event("phx_error")
            client.close()

        run(talk())
        assert request(f"{url}/socket/longpoll?raise=1&Password=SECRET")[0] == 500
        process.wait_for("no such user")
    assert "OWN WARNING shop logged by the application" in process.log()
    assert re.search(
        r"OWN ERROR mesh\.worker\.channel_telemetry channel crashed .*topic=room:1", process.log()
    )
    assert process.log().count("ValueError: crashed") == 1
    assert "OWN INFO mesh.nodes.runtime.lifecycle stopping" in process.log()
    assert "SECRET" not in process.log()


def test_logging_can_be_left_alone(tmp_path):
    env = {"MESH_LOG__CONFIGURE": "false", "MESH_LOG__FORMAT": "console"}
    with node(tmp_path, "serve", APP, "--port", "0", env=env) as process:
        process.url()
    assert "stopping" not in process.log()  # the standard library's default: warnings only


@pytest.fixture(scope="module")
def verbose(tmp_path_factory):
    """A server that logs all it can; no test may make it log a secret."""
    directory = tmp_path_factory.mktemp("verbose")
    with node(directory, "serve", APP, "--port", "0", "--log-level", "debug") as process:
        yield process


@pytest.mark.parametrize("mount", ["/socket", "/by/SECRET/socket", "//by//SECRET%2f'/socket"])
@pytest.mark.parametrize("way", ["websocket", "longpoll", "odd websocket"])
def test_no_secret_of_a_request_is_logged(verbose, way, mount):
    url = verbose.url()
    logged = verbose.log().count("no such user")
    query = (
        "raise=1&token=SECRET&accessToken=SECRET&api-key=SECRET&user%5Bpassword%5D=SECRET&%74oken=SECRET"
    )
    if way == "longpoll":
        assert request(f"{url}{mount}/longpoll?{query}")[0] == 500
        head = f"GET {mount}/longpoll HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n\r\n"
        assert b" 200 " in raw(url, head.encode()).split(b"\r\n")[0]
    else:
        path = f"{mount}/websocket" if way == "websocket" else f"{mount}/websocke%74"
        head = f"GET {path}?{query}&vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
        head += "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        head += "Cookie: session=SECRET\r\nSec-WebSocket-Protocol: base64url.bearer.phx.SECRET\r\n\r\n"
        assert b" 500 " in raw(url, head.encode()).split(b"\r\n")[0]
    until_sync(lambda: verbose.log().count("no such user") > logged)
    assert "SECRET" not in verbose.log()


def raw(url, head):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 45) as sock:
        sock.sendall(head)
        return sock.recv(65_536)


def test_a_client_that_joins_and_crashes_in_a_loop_writes_a_bounded_number_of_lines(tmp_path):
    env = {"MESH_LOG__SIMILAR_LINES_PER_SECOND": "2", "MESH_ADMIN__PORT": "0"}
    with node(tmp_path, "serve", APP, "--port", "0", "--log-level", "debug", env=env) as process:
        url = process.url()

        async def flood():
            client = await PhoenixClient.connect(url)
            for number in range(300):
                await client.join(f"room:{number % 50}")
                client.cast(f"room:{number % 50}", "crash", {})
                await client.event("phx_error")
            client.close()

        run(flood())
        process.wait_for("similar lines left out")
        admin = process.wait_for(r"admin +(http://\S+)")[1]
        left_out = re.search(r"^mesh_log_lines_left_out_total (\S+)", request(f"{admin}/metrics")[1], re.M)
    assert float(left_out[1]) > 100
    assert 0 < process.log().count("ValueError: crashed") < 150
    assert 0 < len(re.findall(r"\] joined ", process.log())) < 200
