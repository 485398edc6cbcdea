"""mesh.connect over real sockets: a broadcast returns when the proxy has it, a subscription receives every one."""

import asyncio
import subprocess
import sys

import pytest

import mesh
from mesh import Broadcast
from mesh.bus.delivery import subscribed
from mesh.errors import ChannelError, NodeError, PayloadError, SettingsError, TopicError, UnreachableError
from tests.integration.connections import following, run
from tests.support.proxy import bus, free_address
from tests.support.until import PATIENCE, until


def test_a_broadcast_reaches_subscribers_of_its_topic_and_its_prefix():
    async def scenario(address):
        async with (
            mesh.connect(address) as one,
            mesh.connect(address) as two,
            two.subscribe("room:1") as exact,
            two.subscribe("room:*") as rooms,
            two.subscribe("*") as everything,
        ):
            for topic in ("room:1", "room:10", "lobby"):
                await one.broadcast(topic, "new_msg", {"to": topic})
            await one.broadcast("room:1", "bytes", b"\x00\xff")
            made = [Broadcast(topic, "new_msg", {"to": topic}) for topic in ("room:1", "room:10", "lobby")]
            data = Broadcast("room:1", "bytes", b"\x00\xff")
            assert await following(exact, 2) == [made[0], data]
            assert await following(rooms, 3) == [made[0], made[1], data]
            assert await following(everything, 4) == [*made, data]

    run(scenario)


def test_messages_broadcast_before_a_script_exits_are_delivered():
    code = """
import asyncio, os, mesh
async def main():
    async with mesh.connect() as pubsub:
        for number in range(100):
            await pubsub.broadcast("room:1", "n", {"n": number})
        os._exit(0)
asyncio.run(main())
"""

    async def scenario(address):
        async with mesh.connect(address) as pubsub, pubsub.subscribe("room:1") as broadcasts:
            script = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, env={"MESH_BUS__PROXIES": address}
            )
            assert await script.wait() == 0
            got = await following(broadcasts, 100)
            assert [each.payload["n"] for each in got] == list(range(100))

    run(scenario)


def test_concurrent_broadcasts_share_probes_and_keep_their_order():
    async def scenario(address):
        async with (
            mesh.connect(address, timeout_seconds=PATIENCE) as one,
            mesh.connect(address, timeout_seconds=PATIENCE) as two,
            two.subscribe("room:1", max_queued=2_000) as broadcasts,
        ):
            await asyncio.gather(*(one.broadcast("room:1", "n", {"n": n}) for n in range(2_000)))
            got = await following(broadcasts, 2_000)
            assert [each.payload["n"] for each in got] == list(range(2_000))
            assert broadcasts.dropped == 0

    run(scenario)


def test_a_loop_without_async_with_subscribes_and_unsubscribes():
    async def scenario(address):
        with bus(address, "node") as node:
            async with mesh.connect(address) as pubsub:

                async def first():
                    async for broadcast in pubsub.subscribe("room:1"):
                        return broadcast

                task = asyncio.create_task(first())
                while not task.done():  # until its subscription is in force
                    node.publish("room:1", "e", 0, b"{}", None)
                    await subscribed(node)
                assert await task == Broadcast("room:1", "e", {})
                # Private: a connection does not tell what it is subscribed to.
                await until(lambda: not pubsub._bus._subscriptions._exact)

    run(scenario)


def test_a_full_subscription_drops_and_counts_the_oldest_broadcasts():
    async def scenario(address):
        async with mesh.connect(address) as pubsub, pubsub.subscribe("room:1", max_queued=3) as broadcasts:
            for number in range(10):
                await pubsub.broadcast("room:1", "n", {"n": number})
            await until(lambda: broadcasts.dropped == 7)
            assert [each.payload["n"] for each in await following(broadcasts, 3)] == [7, 8, 9]

    run(scenario)


def test_unreadable_broadcasts_are_skipped():
    async def scenario(address):
        with bus(address, "node") as node:
            async with mesh.connect(address) as pubsub, pubsub.subscribe("room:1") as broadcasts:
                await subscribed(node)
                node.publish("room:1", "broken", 0, b"{", None)
                node.publish("room:1", "of another codec", 77, b"", None)
                node.publish("room:1", "good", 0, b"{}", None)
                assert await following(broadcasts, 1) == [Broadcast("room:1", "good", {})]

    run(scenario)


def test_a_direct_broadcast_reaches_one_node_only():
    async def scenario(address):
        async with (  # noqa: SIM117
            mesh.connect(address) as one,
            mesh.connect(address) as two,
        ):
            async with one.subscribe("*") as at_one, two.subscribe("*") as at_two:
                await one.direct_broadcast(two.node_id, "room:1", "for_two", {"a": 1})
                await one.direct_broadcast("nobody", "room:1", "for_nobody", {})
                await one.broadcast("room:1", "for_all", {})
                for_all = Broadcast("room:1", "for_all", {})
                assert await following(at_two, 2) == [Broadcast("room:1", "for_two", {"a": 1}), for_all]
                assert await following(at_one, 1) == [for_all]
                with pytest.raises(TopicError, match="not a node id"):
                    await one.direct_broadcast("", "room:1", "e", {})

    run(scenario)


def test_invalid_arguments_raise():
    async def scenario(address):
        with pytest.raises(SettingsError, match="not a ZeroMQ address"):
            mesh.connect("127.0.0.1:5550")
        connection = mesh.connect(address)
        with pytest.raises(UnreachableError, match="not connected"):
            connection.subscribe("room:1")
        async with connection as pubsub:
            with pytest.raises(UnreachableError, match="already open"):
                await pubsub.__aenter__()
            with pytest.raises(TopicError, match="reserved"):
                await pubsub.broadcast("$nodes", "e", {})
            with pytest.raises(PayloadError, match="not an object"):
                await pubsub.broadcast("room:1", "e", [1])
            with pytest.raises(ChannelError, match="event 7"):
                await pubsub.broadcast("room:1", 7, {})
            with pytest.raises(TopicError, match="not at its end"):
                pubsub.subscribe("room:*:x")
            with pytest.raises(TopicError, match="reserved"):
                pubsub.subscribe("$*")
            with pytest.raises(ChannelError, match="at least 1"):
                pubsub.subscribe("room:1", max_queued=0)
            async with pubsub.subscribe("room:1") as broadcasts:
                with pytest.raises(ChannelError, match="is already open"):
                    await broadcasts.__aenter__()

    run(scenario)


def test_a_loop_ends_with_its_connection():
    async def scenario(address):
        async with mesh.connect(address) as pubsub:
            subscription = await pubsub.subscribe("room:1").__aenter__()
            loop = asyncio.create_task(following(subscription, 1))
            later = pubsub.subscribe("room:2")
        assert await loop is None
        with pytest.raises(NodeError, match="has stopped"):
            await later.__aenter__()

    run(scenario)


def test_a_program_that_connects_logs_nothing_below_warning(tmp_path):
    address = free_address()
    code = f"""
import asyncio, mesh
async def main():
    async with mesh.connect({address!r}, timeout_seconds=0.3) as pubsub:
        pass
try:
    asyncio.run(main())
except mesh.MeshError as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "UnreachableError\n"
    assert done.stderr == ""
