"""Publishing and subscribing from anywhere, with real processes: workers, gateways, scripts, HTTP."""

import asyncio
import json
import os
import re
import signal
import urllib.error
import urllib.request

import pytest

import mesh
from tests.support.anywhere_scenarios import OF_WORKERS, SCENARIOS, member
from tests.support.http import request
from tests.support.processes import cluster
from tests.support.until import PATIENCE
from tests.support.websocket import run

APP = "tests.support.anywhere_app:endpoint"
KEY = "a-key-of-20-letters-or-so"


@pytest.fixture
def anywhere(clusters):
    return clusters(APP, MESH_API__KEYS=KEY)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_cluster(anywhere, scenario):
    run(scenario(*anywhere.urls))


@pytest.mark.parametrize("scenario", OF_WORKERS, ids=lambda each: each.__name__)
def test_every_worker(anywhere, scenario):
    run(scenario(*anywhere.urls, 2))


def test_a_direct_broadcast_to_a_gateway_reaches_its_clients_only(anywhere):
    async def scenario():
        here, there = [await member(url, "room:direct") for url in anywhere.urls]
        _, node = await asyncio.to_thread(request, f"{anywhere.urls[0]}/node")
        assert node.startswith("gateway-")
        told = {"node": node, "topic": "room:direct", "event": "e", "n": 1}
        await there.push("room:direct", "tell_node", told)
        assert (await here.next())[3:] == ["e", told]
        intercepted = {**told, "event": "intercepted"}
        await there.push("room:direct", "tell_node", intercepted)  # its channel is on a worker
        await there.silent()
        await here.silent()

    run(scenario())


def test_a_script_speaks_with_clients_and_background_tasks(anywhere):
    async def scenario():
        client = await member(anywhere.urls[0], "room:1")
        async with mesh.connect(anywhere.status["proxy"]["address"]) as pubsub:
            await pubsub.broadcast("room:1", "from_script", {"n": 1})
            assert (await client.next())[3:] == ["from_script", {"n": 1}]
            async with pubsub.subscribe("room:answers") as broadcasts:
                answered = set()
                while len(answered) < 2:
                    await pubsub.broadcast("ask:script", "e", {"n": 1})
                    async for broadcast in broadcasts:
                        answered.add(broadcast.payload["pid"])
                        break

    run(scenario())


def post(url, key, n):
    body = json.dumps({"topic": "room:api", "event": "news", "payload": {"n": n}}).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": key}
    made = urllib.request.Request(f"{url}/api/broadcast", body, headers)
    try:
        with urllib.request.urlopen(made, timeout=PATIENCE) as response:
            return response.status, response.headers["Idempotency-Replayed"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def test_an_idempotency_key_holds_at_every_gateway(anywhere):
    async def scenario():
        one, two = anywhere.urls
        client = await member(two, "room:api")
        for number in range(20):
            assert await asyncio.to_thread(post, one, f"k{number}", number) == (200, None)
            assert (await client.next())[4] == {"n": number}
            # The key travels behind the message: what makes the way after it finds it there.
            assert (await asyncio.to_thread(post, two, "other", "same"))[0] == 200
            if number == 0:
                assert (await client.next())[4] == {"n": "same"}
            assert await asyncio.to_thread(post, two, f"k{number}", number) == (200, "true")
            assert (await asyncio.to_thread(post, two, f"k{number}", "another"))[0] == 409
        await client.silent()

    run(scenario())


def test_while_the_bus_does_not_answer_it_says_so_and_a_repeat_publishes_once(tmp_path):
    env = {"MESH_API__KEYS": KEY, "MESH_API__TIMEOUT_SECONDS": "0.3"}
    with cluster(tmp_path, APP, workers=1, env=env) as running:

        async def scenario():
            one, two = running.urls
            client = await member(two, "room:api")
            pid = running.kill("proxy", number=signal.SIGSTOP)
            try:
                assert (await asyncio.to_thread(post, one, "k", 1))[0] == 503
                assert (await asyncio.to_thread(post, one, "k", 1))[0] == 503
                await client.silent()
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (await client.next())[4] == {"n": 1}
            for gateway in (one, two):
                while (answer := await asyncio.to_thread(post, gateway, "k", 1))[0] == 503:
                    pass  # a busy machine
                assert answer == (200, "true")
            await client.silent()

        run(scenario())


def test_a_worker_that_stops_cancels_its_background_tasks(anywhere):
    logged = len(anywhere.log())

    async def scenario():
        watcher = await member(anywhere.urls[0], "room:fragile")
        pid = anywhere.kill("workers", 0, number=signal.SIGTERM)
        while True:
            message = await watcher.next()
            if message[3] == "cancelled":
                assert message[4] == {"pid": pid}
                return

    run(scenario())
    assert not re.search("background task (failed|did not end)", anywhere.log()[logged:])
