"""Nodes die by kill -9, and what their clients see."""

import asyncio
import signal
import time

import pytest

from tests.support.pool import APPS
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, run

TOPICS = [f"room:{number}" for number in range(24)]
"""Enough channels that each worker has some."""
BEAT, SILENCE, MARGIN = 0.2, 1.5, 10.0
"""Silence is longer than a busy machine holds up a node that is well."""
QUICK = {
    "MESH_LINK__HEARTBEAT_SECONDS": str(BEAT),
    "MESH_LINK__HEARTBEAT_TIMEOUT_SECONDS": str(SILENCE),
    "MESH_BUS__HEARTBEAT_SECONDS": str(BEAT),
    "MESH_BUS__HEARTBEAT_TIMEOUT_SECONDS": str(SILENCE),
}


@pytest.fixture
def quick(clusters):
    return clusters(APPS, **QUICK)


async def joined_everywhere(running):
    clients = [await PhoenixClient.connect(url) for url in running.urls]
    for client in clients:
        for topic in TOPICS:
            assert (await client.join(topic))[0] == "ok"
    return clients


async def errors(client, killed):
    """The topics whose phx_error arrives, and when the last one did; ends with the silence after them."""
    seen, last = set(), 0.0
    while True:
        try:
            message = await client.next(1.0 if seen else 10.0)
        except TimeoutError:
            return seen, last
        assert message[3] == "phx_error", message
        assert message[0] == message[1] == client.join_refs[message[2]]
        seen.add(message[2])
        last = time.monotonic() - killed


def test_a_killed_workers_clients_get_phx_error_at_once_and_rejoin_on_the_other(running):
    async def seconds():
        clients = await joined_everywhere(running)
        killed = time.monotonic()
        old = running.kill("workers", 0)
        results = await asyncio.gather(*(errors(client, killed) for client in clients))
        (one, last_one), (two, last_two) = results
        assert one == two
        assert 0 < len(one) < len(TOPICS)
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
        return max(last_one, last_two)

    async def scenario():
        took = []
        for _ in range(3):  # other work on the machine may delay it once
            took.append(await seconds())
            if took[-1] < 1.5:
                return
            await asyncio.to_thread(running.wait_until_ready)
        raise AssertionError(took)

    run(scenario())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_join_under_way_on_a_killed_worker_goes_to_the_other(apps, number):
    async def scenario():
        client = await PhoenixClient.connect(apps.urls[0])
        joins = {}
        for topic in [f"slow:{number}" for number in range(10)]:
            ref = client.ref()
            client.say(ref, ref, topic, "phx_join", {"seconds": 2})
            joins[ref] = topic
        await client.silent()
        apps.kill("workers", 0, number)
        while joins:
            message = await client.next()
            assert message[4]["status"] == "ok", message
            del joins[message[1]]

    run(scenario())


def test_a_frozen_worker_is_dead_for_its_clients_and_learns_it_on_waking(quick):
    async def scenario():
        client = await PhoenixClient.connect(quick.urls[0])
        topics = [f"info:{number}" for number in range(24)]
        for topic in topics:
            await client.join(topic)
        gone = quick.log().count("gateway is gone")
        pid = quick.kill("workers", 0, signal.SIGSTOP)
        try:
            lost = {(await client.event("phx_error"))[2]}
            watcher = await PhoenixClient.connect(quick.urls[1])
            for topic in lost:
                assert (await client.join(topic))[0] == "ok"
        finally:
            quick.kill("workers", 0, signal.SIGCONT)
        assert quick.status["workers"][0]["pid"] == pid
        await until(lambda: quick.log().count("gateway is gone") > gone)
        await watcher.silent()

    run(scenario())


async def workers_run(running, channels):
    """Wait until all workers together run this many channels: a zombie would be one more."""

    def count():
        return sum(running.metric(each["name"], "open_channels") for each in running.status["workers"])

    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(count) != channels:
            await asyncio.sleep(0.05)


def test_a_frozen_worker_carries_out_nothing_on_waking_and_keeps_no_zombies(quick):
    async def scenario():
        client, watcher = [await PhoenixClient.connect(url) for url in quick.urls]
        topics = [f"order:{number}" for number in range(24)]
        for topic in topics:
            for each in (client, watcher):
                assert (await each.join(topic))[0] == "ok"
        gone = quick.log().count("gateway is gone")
        quick.kill("workers", 0, signal.SIGSTOP)
        frozen = time.monotonic()
        try:
            for topic in topics:
                client.cast(topic, "both", {"n": "stale"})
            (lost, last), (also, _) = await asyncio.gather(
                *(crashed(each, frozen) for each in (client, watcher))
            )
            assert lost == also
            assert 0 < len(lost) < len(topics)
            assert last < BEAT + SILENCE + MARGIN, last
            for topic in lost:
                for each in (client, watcher):
                    assert (await each.join(topic))[0] == "ok"
        finally:
            quick.kill("workers", 0, signal.SIGCONT)
        await until(lambda: quick.log().count("gateway is gone") >= gone + 2)
        await workers_run(quick, 2 * len(topics))
        for topic in lost:
            assert (await client.push(topic, "both", {"n": "fresh"}))[0] == "ok"
            assert (await watcher.event("first"))[2:] == [topic, "first", {"n": "fresh"}]
        await watcher.silent()

    run(scenario())


async def crashed(client, since):
    """The topics whose phx_error comes, and when the last one did; other messages are dropped."""
    seen, last = set(), 0.0
    while True:
        try:
            message = await client.event("phx_error", 1.5 if seen else 10.0)
        except TimeoutError:
            return seen, last
        seen.add(message[2])
        last = time.monotonic() - since


def test_a_frozen_gateways_channels_end_and_on_waking_its_clients_learn_it_and_come_back(quick):
    async def scenario():
        client, watcher = [await PhoenixClient.connect(url) for url in quick.urls]
        topics = [f"info:{number}" for number in range(6)]
        for topic in ("order:1", "watch:ends"):
            assert (await watcher.join(topic))[0] == "ok"
        for topic in ("order:1", *topics):
            assert (await client.join(topic))[0] == "ok"
        quick.kill("gateways", 0, signal.SIGSTOP)
        frozen = time.monotonic()
        try:
            ended = {(await watcher.event("ended"))[4]["topic"] for _ in topics}
            assert ended == set(topics)
            assert time.monotonic() - frozen < BEAT + SILENCE + MARGIN
            client.cast("order:1", "both", {"n": "stale"})
            await workers_run(quick, 2)
        finally:
            quick.kill("gateways", 0, signal.SIGCONT)
        gone, _ = await crashed(client, frozen)
        assert gone == {"order:1", *topics}
        for topic in ("order:1", *topics):
            async with asyncio.timeout(PATIENCE):
                while (await client.join(topic))[0] != "ok":
                    pass  # its links are not up again yet
        await workers_run(quick, 2 + len(topics) + 1)
        assert (await client.push("order:1", "both", {"n": "fresh"}))[0] == "ok"
        assert (await watcher.event("first"))[4] == {"n": "fresh"}
        await watcher.silent()

    run(scenario())


def test_a_killed_gateways_channels_end(apps):
    async def scenario():
        a, b = apps.urls
        watcher = await PhoenixClient.connect(b)
        await watcher.join("watch:ends")
        clients = [await PhoenixClient.connect(a) for _ in range(3)]
        for number, client in enumerate(clients):
            await client.join(f"info:{number}")
        old = apps.kill("gateways", 0)
        ended = set()
        while len(ended) < 3:
            _, _, _, event, payload = await watcher.next()
            assert (event, payload["reason"]) == ("ended", "closed")
            ended.add(payload["topic"])
        apps.wait_restarted("gateways", 0, old)
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
        async with asyncio.timeout(PATIENCE):
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
