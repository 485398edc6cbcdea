"""What every BusAdapter guarantees, run on the one over ZeroMQ and on the one in memory of mesh.testing."""

import asyncio
import contextlib

import pytest

from mesh import Broadcast, topics
from mesh.bus.zeromq.barrier import subscribed
from mesh.pubsub import PubSub
from mesh.testing.memory_bus import MemoryBus
from tests.support.proxy import bus, free_address, proxy
from tests.support.until import PATIENCE


@contextlib.asynccontextmanager
async def over_zeromq():
    async with proxy(free_address()) as address:
        with bus(address, "node-1") as made:
            made.subscribe(topics.exact(topics.of_node(made.node)))
            await subscribed(made)
            yield made


@contextlib.asynccontextmanager
async def in_memory():
    yield MemoryBus()


@pytest.fixture(params=[over_zeromq, in_memory], ids=lambda each: each.__name__)
def run(request):
    def run(scenario):
        async def main():
            async with asyncio.timeout(PATIENCE), request.param() as made:
                await scenario(PubSub(made), made)

        asyncio.run(main())

    return run


async def following(subscription, count):
    got = []
    async for broadcast in subscription:
        got.append(broadcast)
        if len(got) == count:
            return got


def test_numbers_rise_and_broadcasts_arrive_in_order(run):
    async def scenario(pubsub, bus):
        async with pubsub.subscribe("room:1") as broadcasts:
            numbers = [pubsub.broadcast("room:1", "n", {"n": n}) for n in range(500)]
            assert numbers == sorted(set(numbers))
            assert [each.payload["n"] for each in await following(broadcasts, 500)] == list(range(500))

    run(scenario)


def test_a_subscription_hears_its_topics_and_no_others(run):
    async def scenario(pubsub, bus):
        async with pubsub.subscribe("room:1") as exact, pubsub.subscribe("room:*") as rooms:
            for topic in ("room:10", "lobby", "room:1"):
                pubsub.broadcast(topic, "e", {})
            assert [each.topic for each in await following(rooms, 2)] == ["room:10", "room:1"]
            assert await following(exact, 1) == [Broadcast("room:1", "e", {})]

    run(scenario)


def test_a_direct_broadcast_comes_if_it_is_to_this_node(run):
    async def scenario(pubsub, bus):
        async with pubsub.subscribe("room:1") as broadcasts:
            pubsub.direct_broadcast("another", "room:1", "not for us", {})
            pubsub.direct_broadcast(pubsub.node_id, "room:1", "for us", b"\x00")
            pubsub.broadcast("room:1", "for all", {})
            assert [each.event for each in await following(broadcasts, 2)] == ["for us", "for all"]

    run(scenario)


def test_after_the_end_nothing_is_heard(run):
    async def scenario(pubsub, bus):
        async with pubsub.subscribe("room:1") as early:
            pubsub.broadcast("room:1", "e", {})
        pubsub.broadcast("room:1", "late", {})
        assert early.dropped == 0
        async with pubsub.subscribe("room:2") as later:
            pubsub.broadcast("room:2", "e", {})
            await following(later, 1)
        async with early:  # may be entered again
            pubsub.broadcast("room:1", "again", {})
            assert [each.event for each in await following(early, 1)] == ["again"]

    run(scenario)
