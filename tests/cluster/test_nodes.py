"""Nodes started one by one over TCP, in any order; a frozen proxy; garbage on the ZeroMQ ports."""

import asyncio
import contextlib
import os
import re
import signal

from tests.support.processes import cluster, node
from tests.support.proxy import two_ports_in_a_row
from tests.support.until import until
from tests.support.websocket import PhoenixClient, open_connection, run

APP = "examples.conformance:endpoint"


@contextlib.contextmanager
def mesh(directory):
    """(gateway's URL, proxy's port, worker's link port); the proxy comes last."""
    port = two_ports_in_a_row()
    at = ["--proxy", f"tcp://127.0.0.1:{port}", "--log-level", "debug"]
    with (
        node(directory, "gateway", APP, "--port", "0", *at) as gateway,
        node(directory, "worker", APP, *at) as worker,
        node(directory, "proxy", "--bind", f"tcp://127.0.0.1:{port}"),
    ):
        gateway.wait_for("linked to worker")
        link = worker.wait_for(r"link +tcp://127\.0\.0\.1:(\d+)")
        yield gateway.url(), port, int(link[1])


def test_the_order_of_starting_does_not_matter(tmp_path):
    with mesh(tmp_path) as (url, _, _):

        async def scenario():
            one, two = await PhoenixClient.connect(url), await PhoenixClient.connect(url)
            for client in (one, two):
                assert (await client.join("room:1"))[0] == "ok"
            one.cast("room:1", "new_msg", {"n": 1})
            assert (await two.next())[3:] == ["new_msg", {"n": 1}]

        run(scenario())


def test_garbage_on_the_zeromq_ports_disturbs_nobody(tmp_path):
    with mesh(tmp_path) as (url, port, link):

        async def scenario():
            client = await PhoenixClient.connect(url)
            await client.join("room:1")
            for target in (port, port + 1, link):
                for garbage in (
                    b"GET / HTTP/1.1\r\n\r\n",
                    os.urandom(2000),
                    b"\xff" + b"\x00" * 63,
                    b"\xff",
                ):
                    _, writer = await open_connection("127.0.0.1", target)
                    writer.write(garbage)
                    client.cast("room:1", "new_msg", {"n": target})
                    assert (await client.next())[3:] == ["new_msg", {"n": target}]
                    assert await client.push("room:1", "echo", {}) == ("ok", {})

        run(scenario())


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
