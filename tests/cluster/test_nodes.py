"""Nodes started one by one over TCP, in any order; a frozen proxy; garbage on the ZeroMQ ports."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
from pathlib import Path

import pytest
import zmq

from mesh.link import commands
from tests.support.processes import cluster, node
from tests.support.proxy import free_address, two_ports_in_a_row
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, open_connection, run

APP = "examples.conformance:endpoint"
FIRST_ROUTING_ID = 0x6B8B4567
"""The number of the first peer of the first ROUTER in a process whose C library's `rand` nobody has seeded."""


@contextlib.contextmanager
def mesh(directory):
    """(gateway's URL, proxy's port, worker's link port); the proxy comes last."""
    port = two_ports_in_a_row()
    at = ["--proxy", f"tcp://127.0.0.1:{port}", "--log-level", "debug"]
    with (
        node(directory, "gateway", APP, "--port", "0", *at) as gateway,
        node(directory, "worker", APP, *at, env={"MESH_LINK__BIND": "tcp://127.0.0.1:*"}) as worker,
        node(directory, "proxy", "--bind", f"tcp://127.0.0.1:{port}"),
    ):
        gateway.wait_for("linked to worker")
        link = worker.wait_for(r"link +tcp://127\.0\.0\.1:(\d+)")
        yield gateway.url(), port, int(link[1])


@pytest.fixture(scope="module")
def proxy_last(tmp_path_factory):
    """As `mesh`."""
    with mesh(tmp_path_factory.mktemp("nodes")) as running:
        yield running


def test_the_order_of_starting_does_not_matter(proxy_last):
    url, _, _ = proxy_last

    async def scenario():
        one, two = await PhoenixClient.connect(url), await PhoenixClient.connect(url)
        for client in (one, two):
            assert (await client.join("room:1"))[0] == "ok"
        one.cast("room:1", "new_msg", {"n": 1})
        assert (await two.next())[3:] == ["new_msg", {"n": 1}]

    run(scenario())


def test_garbage_on_the_zeromq_ports_disturbs_nobody(proxy_last):
    url, port, link = proxy_last

    async def scenario():
        client = await PhoenixClient.connect(url)
        await client.join("room:2")
        for target in (port, port + 1, link):
            for garbage in (
                b"GET / HTTP/1.1\r\n\r\n",
                os.urandom(2000),
                b"\xff" + b"\x00" * 63,
                b"\xff",
            ):
                _, writer = await open_connection("127.0.0.1", target)
                writer.write(garbage)
                client.cast("room:2", "new_msg", {"n": target})
                assert (await client.next())[3:] == ["new_msg", {"n": target}]
                assert await client.push("room:2", "echo", {}) == ("ok", {})

    run(scenario())


def test_a_peer_that_claims_the_routing_id_to_come_does_not_end_the_worker(tmp_path):
    """libzmq 4.3.5 aborts when the routing id that it makes for a peer is one that another peer claimed."""
    with mesh(tmp_path) as (url, _, link), zmq.Context() as context:
        address = f"tcp://127.0.0.1:{link}"
        claims = [b"\0" + (FIRST_ROUTING_ID + number).to_bytes(4, "big") for number in range(50)]
        peers = [claiming(link, claim) for claim in claims]
        try:
            for _ in range(60):  # each takes the next number
                with context.socket(zmq.DEALER) as anonymous:
                    anonymous.connect(address)
                    anonymous.send(commands.encode_batch([commands.Hello(2, "stranger", 1)]))
                    assert anonymous.poll(1_000 * PATIENCE), "the worker does not answer"
        finally:
            for peer in peers:
                peer.close()

        async def scenario():
            client = await PhoenixClient.connect(url)
            assert (await client.join("room:1"))[0] == "ok"

        run(scenario())


def claiming(port, routing_id):
    """A connection by hand: libzmq's own peers may not claim an id that begins with a zero byte."""
    made = socket.create_connection(("127.0.0.1", port), 45)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 1 + 31)
    properties = (b"Socket-Type", b"DEALER"), (b"Identity", routing_id)
    ready = b"\x05READY" + b"".join(
        bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in properties
    )
    made.sendall(greeting)
    received = b""
    while len(received) < 64:
        received += made.recv(64 - len(received))
    made.sendall(b"\x04" + bytes([len(ready)]) + ready)
    assert made.recv(2)[:1] == b"\x04"
    made.sendall(b"\0\x01x")
    return made


def test_by_default_a_worker_listens_where_its_own_user_reaches_it_only(tmp_path):
    env = {"XDG_RUNTIME_DIR": "", "TMPDIR": tempfile.mkdtemp(dir="/tmp")}
    at = ["--proxy", free_address()]
    try:
        with (
            node(tmp_path, "proxy", "--bind", at[1]),
            node(tmp_path, "worker", APP, *at, env=env) as worker,
            node(tmp_path, "gateway", APP, "--port", "0", *at) as gateway,
        ):
            path = Path(worker.wait_for(r"link +ipc://(\S+)")[1])
            found = path.parent.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.geteuid())

            async def scenario():
                client = await PhoenixClient.connect(gateway.url())
                assert (await client.join("room:1"))[0] == "ok"

            run(scenario())
        assert os.listdir(env["TMPDIR"]) == []
    finally:
        shutil.rmtree(env["TMPDIR"])


def test_a_gateway_of_another_user_says_why_it_cannot_reach_a_worker_and_the_way_out(tmp_path):
    if os.geteuid():
        pytest.skip("being another user needs root")
    at = ["--proxy", free_address()]
    nobody = ("setpriv", "--reuid", "65534", "--clear-groups")
    with (
        node(tmp_path, "proxy", "--bind", at[1]),
        node(tmp_path, "worker", APP, *at),
        node(tmp_path, "gateway", APP, "--port", "0", *at, within=nobody) as gateway,
    ):
        gateway.wait_for(r"worker cannot be reached.*another user.*MESH_LINK__BIND=tcp://")


def test_a_frozen_proxy_costs_no_channel(tmp_path):
    env = {"MESH_BUS__NODE_DOWN_SECONDS": "1", "MESH_BUS__ANNOUNCE_SECONDS": "0.2"}
    with cluster(tmp_path, APP, env=env) as running:

        async def scenario():
            client = await PhoenixClient.connect(running.urls[0])
            for number in range(8):
                await client.join(f"room:{number}")
            running.kill("proxy", number=signal.SIGSTOP)
            try:
                silent = re.compile(r"gateway\.1.*node fell silent")
                await until(lambda: len(silent.findall(running.log())) >= 2)
                for number in range(8):
                    assert await client.push(f"room:{number}", "echo", {}) == ("ok", {})
                client.cast("room:1", "new_msg", {"n": 1})
                await client.silent()
            finally:
                running.kill("proxy", number=signal.SIGCONT)
            assert (await client.next())[3:] == ["new_msg", {"n": 1}]
            assert (await client.join("room:new"))[0] == "ok"

        run(scenario())


def test_a_join_waits_for_a_worker_and_is_refused_when_none_comes(tmp_path):
    port = two_ports_in_a_row()
    at = ["--proxy", f"tcp://127.0.0.1:{port}"]
    long, short = ({"MESH_GATEWAY__WORKER_WAIT_SECONDS": seconds} for seconds in ("60", "1"))
    with (
        node(tmp_path, "proxy", "--bind", f"tcp://127.0.0.1:{port}"),
        node(tmp_path, "gateway", APP, "--port", "0", *at, env=long) as patient,
        node(tmp_path, "gateway", APP, "--port", "0", *at, env=short) as impatient,
    ):

        async def waits():
            client = await PhoenixClient.connect(patient.url())
            joining = asyncio.create_task(client.join("room:1"))
            await asyncio.sleep(0)
            with node(tmp_path, "worker", APP, *at):
                assert (await joining)[0] == "ok"

        async def refused():
            client = await PhoenixClient.connect(impatient.url())
            assert await client.join("room:1") == ("error", {"reason": "unavailable"})

        run(waits())
        run(refused())
