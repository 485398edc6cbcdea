"""phoenix.js with History misses nothing, whatever is cut or killed."""

import asyncio
import signal

import pytest

import mesh
from tests.support.processes import node
from tests.support.recovery import (
    APP,
    KEY,
    Publishers,
    Readers,
    check_exactly_once,
    check_told_of_losses,
)
from tests.support.websocket import TEXT, PhoenixClient, run

TOPICS = [f"room:{number}" for number in range(4)]
"""Enough that each worker records some."""
FROZEN_SECONDS = 8.0
"""Longer than `bus.node_down_seconds`: the other workers consider the frozen one dead."""


@pytest.fixture
def running(clusters):
    return clusters(APP, workers=3, proxies=2, MESH_API__KEYS=KEY)


@pytest.mark.parametrize("topic", ["room:1", "anywhere:1"])
def test_a_hundred_cuts_lose_nothing(running, topic):
    async def scenario():
        async with Publishers(running, [topic]) as publishers, Readers(running.urls, [topic]) as readers:
            await readers.tell(cut=100)
            told = await readers.end(publishers)
        check_exactly_once(told, publishers)
        for client in told:
            assert client["cuts"] == 100
            assert len(client["rooms"][topic]["states"]) == 101

    run(scenario())


@pytest.mark.parametrize("kind", ["workers", "gateways", "proxies"])
def test_nothing_is_lost_while_nodes_are_killed_in_turn(running, kind):
    async def scenario():
        async with Publishers(running, TOPICS) as publishers, Readers(running.urls, TOPICS) as readers:
            await readers.tell(cutting=True)
            for index in range(len(running.status[kind])):
                await publishers.sends(5)
                old = running.kill(kind, index)
                await publishers.sends(5)
                await asyncio.to_thread(running.wait_restarted, kind, index, old)
                await asyncio.to_thread(running.restore)
            await publishers.sends(5)
            await readers.tell(cutting=False)
            told = await readers.end(publishers)
        check_exactly_once(told, publishers)

    run(scenario())


def test_nothing_is_lost_in_a_rolling_restart_nor_when_a_worker_is_added(running, tmp_path):
    async def scenario():
        async with Publishers(running, TOPICS) as publishers, Readers(running.urls, TOPICS) as readers:
            await readers.tell(cutting=True)
            await publishers.sends(5)
            for index in range(len(running.status["workers"])):
                old = running.kill("workers", index, signal.SIGTERM)
                await asyncio.to_thread(running.wait_restarted, "workers", index, old)
                await asyncio.to_thread(running.restore)
            proxies = ",".join(each["address"] for each in running.status["proxies"])
            env = {"MESH_BUS__PROXIES": proxies, "MESH_ADMIN__PORT": "0"}
            with node(tmp_path, "worker", APP, env=env) as added:
                await asyncio.to_thread(added.wait_for, "gateway linked|link ")
                await publishers.sends(10)
            await publishers.sends(5)
            await readers.tell(cutting=False)
            told = await readers.end(publishers)
        check_exactly_once(told, publishers)

    run(scenario())


def test_a_frozen_worker_costs_nothing_or_its_clients_are_told(running):
    async def scenario():
        async with Publishers(running, TOPICS) as publishers, Readers(running.urls, TOPICS) as readers:
            await publishers.sends(5)
            running.kill("workers", 0, signal.SIGSTOP)
            try:
                await asyncio.sleep(FROZEN_SECONDS)
            finally:
                running.kill("workers", 0, signal.SIGCONT)
            await asyncio.to_thread(running.restore)
            await publishers.sends(10)
            await readers.tell(cut=2)
            told = await readers.end(publishers)
        check_told_of_losses(told, publishers)

    run(scenario())


def test_a_frozen_client_recovers_what_it_has_missed(running):
    async def scenario():
        async with Publishers(running, TOPICS) as publishers, Readers(running.urls, TOPICS) as readers:
            for _ in range(2):
                await publishers.sends(3)
                readers.signal(signal.SIGSTOP)
                await publishers.sends(5)
                readers.signal(signal.SIGCONT)
                await readers.tell(cut=1)
            told = await readers.end(publishers)
        check_exactly_once(told, publishers)

    run(scenario())


def test_a_client_that_does_not_ask_sees_the_same_bytes_as_of_a_topic_without_history(running):
    async def scenario():
        client = await PhoenixClient.connect(running.urls[0])
        proxies = [each["address"] for each in running.status["proxies"]]
        for topic in ("room:plain", "other:plain"):
            assert (await client.join(topic))[0] == "ok"
        async with mesh.connect(*proxies, timeout_seconds=30.0) as pubsub:
            for topic in ("room:plain", "other:plain"):
                await pubsub.broadcast(topic, "n", {"n": 1})
                wanted = f'[null,null,"{topic}","n",{{"n":1}}]'
                assert await client.socket.recv() == (TEXT, wanted.encode())
        await client.silent()

    run(scenario())


def test_a_forgotten_history_is_a_gap_for_those_who_were_away(running):
    async def scenario():
        proxies = [each["address"] for each in running.status["proxies"]]
        client = await PhoenixClient.connect(running.urls[0])
        async with mesh.connect(*proxies, timeout_seconds=30.0) as pubsub:
            await pubsub.broadcast("room:forgotten", "n", {"n": 1})
            before = await state_of(client, "room:forgotten", {"last": 5})
            assert (before["recovered"], before["count"]) == (True, 1)
            assert (await client.next())[1] == f"{before['epoch']}:1"
            await pubsub.forget("room:forgotten")
            position = {"epoch": before["epoch"], "offset": before["offset"]}
            after = await state_of(client, "room:forgotten", position)
            assert (after["recovered"], after["count"]) == (False, 0)
            assert after["epoch"] != before["epoch"]

    run(scenario())


async def state_of(client, topic, history):
    """What a join that asks for a history is told."""
    ref = client.ref()
    client.say(ref, ref, topic, "phx_join", {"history": history})
    while (message := await client.next())[3] != "history_state":
        assert message[3] in ("phx_reply", "phx_close"), message
    return message[4]
