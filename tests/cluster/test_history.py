"""phoenix.js with History misses nothing, whatever is cut or killed."""

import asyncio

import pytest

from tests.support.recovery import APP, KEY, Publishers, Readers, check_exactly_once
from tests.support.websocket import run

TOPICS = [f"room:{number}" for number in range(6)]
"""Enough that each worker records some."""


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
                await publishers.sends(10)
                old = running.kill(kind, index)
                await publishers.sends(10)
                await asyncio.to_thread(running.wait_restarted, kind, index, old)
                await asyncio.to_thread(running.restore)
            await publishers.sends(10)
            await readers.tell(cutting=False)
            told = await readers.end(publishers)
        check_exactly_once(told, publishers)

    run(scenario())
