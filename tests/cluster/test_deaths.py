"""Nodes die by kill -9, and what their clients see."""

import asyncio
import signal
import time

import pytest

from tests.support.processes import cluster
from tests.support.until import until
from tests.support.websocket import PhoenixClient, run

TOPICS = [f"room:{number}" for number in range(24)]


@pytest.fixture
def running(tmp_path):
    with cluster(tmp_path, "examples.conformance:endpoint") as each:
        yield each


async def joined_everywhere(running):
    clients = [await PhoenixClient.connect(url) for url in running.urls]
    for client in clients:
        for topic in TOPICS:
            assert (await client.join(topic))[0] == "ok"
    return clients


async def errors(client, killed):
    """The topics whose phx_error arrives, and when the last one did; ends after silence."""
    seen, last = set(), 0.0
    while True:
        try:
            message = await client.next(0.5)
        except TimeoutError:
            return seen, last
        assert message[3] == "phx_error", message
        assert message[0] == message[1] == client.join_refs[message[2]]
        seen.add(message[2])
        last = time.monotonic() - killed


def test_a_killed_workers_clients_get_phx_error_at_once_and_rejoin_on_the_other(running):
    async def scenario():
        clients = await joined_everywhere(running)
        killed = time.monotonic()
        old = running.kill("workers", 0)
        results = await asyncio.gather(*(errors(client, killed) for client in clients))
        (one, last_one), (two, last_two) = results
        assert one == two
        assert 0 < len(one) < len(TOPICS)
        assert max(last_one, last_two) < 0.2, (last_one, last_two)
        for client in clients:
            for topic in TOPICS:
                if topic not in one:  # nothing else is disturbed
                    assert await client.push(topic, "echo", {"a": 1}) == ("ok", {"a": 1})
            for topic in one:
                assert (await client.join(topic))[0] == "ok"
        clients[0].cast(min(one), "new_msg", {"n": 1})
        for client in clients:
            assert (await client.next())[3:] == ["new_msg", {"n": 1}]
        running.wait_restarted("workers", 0, old)

    run(scenario())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_join_under_way_on_a_killed_worker_goes_to_the_other(tmp_path, number):
    with cluster(tmp_path, "tests.support.apps:endpoint") as running:

        async def scenario():
            client = await PhoenixClient.connect(running.urls[0])
            joins = {}
            for number in range(10):
                ref = client.ref()
                client.say(ref, ref, f"slow:{number}", "phx_join", {"seconds": 0.3})
                joins[ref] = f"slow:{number}"
            await client.silent()
            running.kill("workers", 0, number)
            while joins:
                message = await client.next()
                assert message[4]["status"] == "ok", message
                del joins[message[1]]

        run(scenario())


def test_a_frozen_worker_is_dead_for_its_clients_and_learns_it_on_waking(tmp_path):
    env = {"MESH_LINK__HEARTBEAT_SECONDS": "0.2", "MESH_LINK__HEARTBEAT_TIMEOUT_SECONDS": "0.6"}
    with cluster(tmp_path, "tests.support.apps:endpoint", env=env) as running:

        async def scenario():
            client = await PhoenixClient.connect(running.urls[0])
            topics = [f"info:{number}" for number in range(8)]
            for topic in topics:
                await client.join(topic)
            pid = running.kill("workers", 0, signal.SIGSTOP)
            try:
                lost = {(await client.event("phx_error"))[2]}
                watcher = await PhoenixClient.connect(running.urls[1])
                for topic in lost:
                    assert (await client.join(topic))[0] == "ok"
            finally:
                running.kill("workers", 0, signal.SIGCONT)
            assert running.status["workers"][0]["pid"] == pid
            await until(lambda: running.log().count("gateway is gone") >= 1)
            await watcher.silent()

        run(scenario())


def test_a_killed_gateways_channels_end(tmp_path):
    with cluster(tmp_path, "tests.support.apps:endpoint") as running:

        async def scenario():
            a, b = running.urls
            watcher = await PhoenixClient.connect(b)
            await watcher.join("watch:ends")
            clients = [await PhoenixClient.connect(a) for _ in range(3)]
            for number, client in enumerate(clients):
                await client.join(f"info:{number}")
            old = running.kill("gateways", 0)
            ended = set()
            while len(ended) < 3:
                _, _, _, event, payload = await watcher.next()
                assert (event, payload["reason"]) == ("ended", "closed")
                ended.add(payload["topic"])
            running.wait_restarted("gateways", 0, old)
            await until(lambda: connectable(a))

        run(scenario())


def connectable(base):
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(base)
    try:
        socket.create_connection((parts.hostname, parts.port), 1).close()
    except OSError:
        return False
    return True


def test_while_the_proxy_is_gone_replies_go_on_and_when_it_is_back_so_does_the_rest(running):
    async def scenario():
        one, two = await joined_everywhere(running)
        old = running.kill("proxy")
        assert await one.push(TOPICS[0], "echo", {"a": 1}) == ("ok", {"a": 1})
        running.wait_restarted("proxy", 0, old)
        # the mesh works again once a broadcast and a join to a fresh topic go through
        async with asyncio.timeout(20):
            while True:
                one.cast(TOPICS[0], "new_msg", {"again": True})
                try:
                    await two.next(0.3)
                    break
                except TimeoutError:
                    continue
        assert (await two.join("room:fresh"))[0] == "ok"

    run(scenario())


def test_a_restarted_gateway_closes_its_clients_with_1012(running):
    async def scenario():
        client = await PhoenixClient.connect(running.urls[0])
        await client.join("room:1")
        running.kill("gateways", 0, signal.SIGTERM)
        assert await client.socket.recv_close() == 1012

    run(scenario())


def test_a_worker_that_stops_sends_its_clients_elsewhere(running):
    async def scenario():
        (client, _) = await joined_everywhere(running)
        running.kill("workers", 0, signal.SIGTERM)
        seen, _ = await errors(client, time.monotonic())
        assert 0 < len(seen) < len(TOPICS)
        for topic in seen:
            assert (await client.join(topic))[0] == "ok"

    run(scenario())
