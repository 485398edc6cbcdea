"""Histories that real workers record, read from everywhere."""

import asyncio
import json
import urllib.request
from contextlib import AsyncExitStack
from itertools import count, islice

import pytest

import mesh
from mesh.bus.discovery.placement import ranked
from mesh.errors import ChannelError
from mesh.nodes.gateway import GatewayNode
from mesh.nodes.worker import WorkerNode
from mesh.settings import build
from tests.integration.connections import run
from tests.support.history_worker import UserSocket
from tests.support.processes import serve
from tests.support.until import PATIENCE, until, until_sync

KEY = "a-key-of-20-letters-or-so"
TOPICS = [f"room:{number}" for number in range(8)]


def http(url, path, body=None, method=None):
    """The answer to a request of the API."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{url}/api/{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.loads(response.read())


def test_an_embedded_server_records_and_reads(tmp_path):
    env = {"MESH_API__KEYS": KEY}
    with serve(tmp_path, "tests.support.history_worker:endpoint", env=env) as (_, url):
        for number in range(1, 4):
            http(url, "broadcast", {"topic": "room:1", "event": "msg", "payload": {"n": number}})
        # A broadcast is answered when the proxy has it, and recorded a moment later.
        until_sync(lambda: http(url, "history?topic=room:1")["offset"] == 3)
        page = http(url, "history?topic=room:1&limit=2")
        assert [each["payload"] for each in page["messages"]] == [{"n": 2}, {"n": 3}]
        after = http(url, f"history?topic=room:1&epoch={page['epoch']}&after=1&limit=1")
        assert ([each["offset"] for each in after["messages"]], after["complete"]) == ([2], False)
        assert http(url, "history?topic=room:1", method="DELETE") == {}
        page = http(url, "history?topic=room:1")
        assert (page["offset"], page["messages"]) == (0, [])


async def started(stack, kind, address):
    given = {
        "gateway": {"port": 0},
        "bus": {"proxies": [address]},
        "api": {"keys": [KEY]},
        "history": {"wait_seconds": PATIENCE},
    }
    endpoint = mesh.Endpoint({"/socket": UserSocket})
    return await kind.start(stack, endpoint, build(given))


def test_every_node_and_program_reads_what_two_workers_record(monkeypatch):
    monkeypatch.setenv("MESH_HISTORY__WAIT_SECONDS", str(PATIENCE))

    async def scenario(address):
        async with AsyncExitStack() as stack:
            workers = [await started(stack, WorkerNode, address) for _ in range(2)]
            gateway = await started(stack, GatewayNode, address)
            pubsub = await stack.enter_async_context(mesh.connect(address))
            url = gateway.addresses[0]
            readers = [pubsub, gateway.endpoint, *(each.endpoint for each in workers)]
            chosen = [topic for each in workers for topic in _topics_of(each.id, workers)]
            for topic in chosen:
                await pubsub.broadcast(topic, "msg", {"on": topic})
            for topic in chosen:
                for reader in readers:
                    await _until_listed(reader, topic)
                page = await asyncio.to_thread(http, url, f"history?topic={topic}")
                assert [each["payload"] for each in page["messages"]] == [{"on": topic}]
            for topic, reader in zip(chosen, readers * 2, strict=True):
                await reader.forget(topic)
                assert [await each.history(topic) for each in readers] == [[]] * len(readers)
            for reader in readers:
                with pytest.raises(ChannelError, match="'plain:1' has no history"):
                    await reader.history("plain:1")

    run(scenario)


def _topics_of(worker, workers):
    """Four topics that this worker records: one for each reader."""
    ids = [each.id for each in workers]
    topics = (f"room:{number}" for number in count())
    return list(islice((topic for topic in topics if ranked(topic, ids, 1) == [worker]), 4))


async def _until_listed(reader, topic):
    while [each.payload for each in await reader.history(topic)] != [{"on": topic}]:
        await asyncio.sleep(0.01)


def test_a_history_is_read_while_its_recorder_stops(monkeypatch):
    monkeypatch.setenv("MESH_HISTORY__WAIT_SECONDS", str(PATIENCE))

    async def scenario(address):
        async with AsyncExitStack() as stack:
            stopping = AsyncExitStack()
            await started(stopping, WorkerNode, address)
            pubsub = await stack.enter_async_context(mesh.connect(address))
            gateway = await started(stack, GatewayNode, address)
            for topic in TOPICS:
                await pubsub.broadcast(topic, "msg", {"on": topic})
            for topic in TOPICS:
                await _until_listed(gateway.endpoint, topic)
            second = await started(stack, WorkerNode, address)
            await until(lambda: second.recorder.gauges()["history_topics"] == len(TOPICS))
            await stopping.aclose()
            for topic in TOPICS:
                for reader in (pubsub, gateway.endpoint, second.endpoint):
                    assert [each.payload for each in await reader.history(topic)] == [{"on": topic}]

    run(scenario)
