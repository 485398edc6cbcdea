"""A worker in Node, beside a Python one, over the real zeromq package."""

import asyncio
import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ORDER, node
from tests.support.proxy import free_address
from tests.support.until import PATIENCE, until_sync
from tests.support.websocket import PhoenixClient, run

WORKER = Path(__file__).parent / "node_worker" / "worker.mjs"
APP = "tests.support.polyglot_app:endpoint"


@contextlib.contextmanager
def node_worker(address, directory):
    log = (directory / "node.log").open("a")
    with log, subprocess.Popen(["node", WORKER, address], stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(PATIENCE)


@pytest.fixture
def nodes(tmp_path):
    """(gateways, the proxy's address)."""
    address = free_address()
    at = ["--proxy", address, "--log-level", "debug"]
    env = {**ORDER, "MESH_GATEWAY__WORKER_WAIT_SECONDS": "240"}
    with (
        node(tmp_path, "proxy", "--bind", address),
        node(tmp_path, "gateway", APP, "--port", "0", *at, env=env) as one,
        node(tmp_path, "gateway", APP, "--port", "0", *at, env=env) as two,
        node(tmp_path, "worker", APP, *at),
    ):
        for gateway in (one, two):
            gateway.wait_for("linked to worker")
        yield (one, two), address


def linked(gateway, links):
    until_sync(lambda: gateway.log().count("linked to worker") >= links)


def test_channels_run_in_javascript_beside_those_in_python(nodes, tmp_path):
    gateways, address = nodes
    with node_worker(address, tmp_path):
        for gateway in gateways:
            linked(gateway, 2)

        async def scenario():
            one, two = [
                await PhoenixClient.connect(gateway.url(), f"user=u{number}")
                for number, gateway in enumerate(gateways)
            ]
            assert await one.join("node:1") == ("ok", {"language": "JavaScript", "user": "u0"})
            assert await two.join("node:1") == ("ok", {"language": "JavaScript", "user": "u1"})
            assert await one.join("node:2", {"refuse": True}) == (
                "error",
                {"reason": "refused in JavaScript"},
            )
            assert await one.join("python:1") == ("ok", {})
            assert await one.push("node:1", "echo", {"a": [1]}) == ("ok", {"a": [1]})
            assert await one.push("python:1", "echo", {"a": 2}) == ("ok", {"a": 2})
            one.cast("node:1", "push_me", {"n": 1})
            assert (await one.next())[3:] == ["pushed", {"n": 1}]
            for number in range(100):
                ref = one.cast("node:1", "shout", {"n": number})
                assert await one.next() == [None, None, "node:1", "shout", {"n": number}]
                assert (await one.next())[1] == ref, "the broadcast before the reply"
                assert await two.next() == [None, None, "node:1", "shout", {"n": number}]
            assert await one.join("node:1") == ("ok", {"language": "JavaScript", "user": "u0"})
            assert (await one.next())[3] == "phx_close"
            assert await one.push("node:1", "phx_leave") == ("ok", {})
            assert (await one.next())[3] == "phx_close"
            assert await one.push("python:1", "echo", {}) == ("ok", {})

        run(scenario())


def test_a_killed_node_worker_is_a_crash_for_its_clients_and_its_successor_takes_over(nodes, tmp_path):
    gateways, address = nodes

    async def joined():
        client = await PhoenixClient.connect(gateways[0].url(), "user=ana")
        assert (await client.join("node:1"))[0] == "ok"
        assert (await client.join("python:1"))[0] == "ok"
        return client

    async def scenario():
        with node_worker(address, tmp_path) as first:
            await asyncio.to_thread(linked, gateways[0], 2)
            client = await joined()
            first.kill()
            assert (await client.event("phx_error"))[2] == "node:1"
        assert await client.push("python:1", "echo", {}) == ("ok", {})
        ref = client.ref()
        client.join_refs["node:1"] = ref
        client.say(ref, ref, "node:1", "phx_join", {})  # waits for a worker
        with node_worker(address, tmp_path):
            assert (await client.answer(ref))[0] == "ok"
            assert await client.push("node:1", "echo", {"b": 1}) == ("ok", {"b": 1})

    run(scenario())
