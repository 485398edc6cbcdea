"""mesh.connect, over real sockets: what a script publishes has reached the proxy, what it subscribed comes."""

import asyncio
import functools
import signal
import subprocess
import sys

import msgspec
import pytest
import zmq

import mesh
from mesh import Broadcast
from mesh.bus import delivery
from mesh.bus.delivery import subscribed
from mesh.bus.zeromq.proxy_connection_phases import Event
from mesh.errors import (
    ChannelError,
    NodeError,
    PayloadError,
    SettingsError,
    TopicError,
    UnreachableError,
)
from mesh.messages import BINARY
from mesh.telemetry import counters
from tests.support.processes import node
from tests.support.proxy import bus, free_address, proxy
from tests.support.until import PATIENCE, until


def run(scenario):
    """With a proxy: `scenario(address)`."""

    async def main():
        async with proxy(free_address()) as address, asyncio.timeout(PATIENCE):
            await scenario(address)

    asyncio.run(main())


async def following(subscription, count):
    got = []
    async for broadcast in subscription:
        got.append(broadcast)
        if len(got) == count:
            return got


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


def test_what_a_script_broadcasts_before_it_exits_is_not_lost():
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


def test_many_at_once_share_their_probes_and_keep_their_order():
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


def test_a_loop_without_async_with_subscribes_and_unsubscribes_by_itself():
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
                await until(lambda: not pubsub._bus._subscriptions._exact)

    run(scenario)


def test_what_is_not_read_in_time_is_dropped_and_counted():
    async def scenario(address):
        async with mesh.connect(address) as pubsub, pubsub.subscribe("room:1", max_queued=3) as broadcasts:
            for number in range(10):
                await pubsub.broadcast("room:1", "n", {"n": number})
            await until(lambda: broadcasts.dropped == 7)
            assert [each.payload["n"] for each in await following(broadcasts, 3)] == [7, 8, 9]

    run(scenario)


def test_broadcasts_that_nobody_can_read_are_skipped():
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


def test_without_a_proxy_it_says_so():
    async def scenario():
        address = free_address()
        with pytest.raises(UnreachableError, match=rf"no proxy answered at {address} within 0.2 s; is it"):
            async with mesh.connect(address, timeout_seconds=0.2):
                pass

    asyncio.run(scenario())


def test_a_proxy_that_went_away_is_told_and_a_new_one_is_found():
    async def scenario():
        address = free_address()
        async with proxy(address):
            connection = mesh.connect(address)
            pubsub = await connection.__aenter__()
        await until(lambda: not pubsub._bus.publisher.connected)
        pubsub._timeout_seconds = 0.3
        with pytest.raises(UnreachableError, match="nothing was published: no proxy answered"):
            await pubsub.broadcast("room:1", "lost", {})
        with pytest.raises(UnreachableError, match="no proxy answered"):
            async with pubsub.subscribe("room:1"):
                pass
        pubsub._timeout_seconds = 10.0
        waiting = asyncio.create_task(pubsub.broadcast("room:1", "late", {}))
        async with proxy(address):
            async with pubsub.subscribe("room:1") as broadcasts:
                await waiting
                await pubsub.broadcast("room:1", "found", {})
                got = await following(broadcasts, 1)
                assert got[0].event in ("late", "found")
            await connection.__aexit__(None, None, None)

    asyncio.run(scenario())


def test_a_message_that_dies_with_the_proxy_is_sent_again_when_it_is_back():
    async def scenario():
        address = free_address()
        got = []
        hear = {"broadcast": lambda topic, header, data: got.append(header.event)}
        with (
            zmq.Context() as context,
            bus(address, "node") as node,
            bus(address, "other", **hear) as other,
        ):
            other.subscribe(b"room:1")
            other.subscriber.in_force([b"room:1"])  # as if it had been so before
            takes_and_dies = context.socket(zmq.SUB)
            takes_and_dies.setsockopt(zmq.SUBSCRIBE, b"room:1")
            takes_and_dies.bind(address)
            publish = functools.partial(node.publish, "room:1", "e", 0, b"{}", None)
            patient = {"listeners_seconds": 60.0, "announce_seconds": 60.0}
            node.publisher._settings = msgspec.structs.replace(node.publisher._settings, **patient)
            await until(lambda: takes_and_dies.poll(0) or node.publisher.connections[0].connected)
            node.publisher.connections[0]._handle(Event.ECHOED)  # as if it passed probes on
            node.publisher._choose()
            delivering = asyncio.create_task(delivery.deliver(node, publish, 60.0))
            await until(lambda: takes_and_dies.poll(0))
            node.publisher.hears("other", [])  # as it says once it has missed that proxy
            takes_and_dies.close()
            async with proxy(address):
                await subscribed(other)
                node.publisher.hears("other", [address])
                await delivering
                await until(lambda: got)
                await subscribed(other)
        assert got == ["e"]

    asyncio.run(scenario())


def test_a_frozen_proxy_does_not_hold_up_what_the_other_can_confirm(tmp_path, monkeypatch):
    """Not even if nothing else gives it up: its time-outs are longer than anybody waits here."""
    for name in ("PROXY_TIMEOUT", "HEARTBEAT_TIMEOUT"):
        monkeypatch.setenv(f"MESH_BUS__{name}_SECONDS", "120")
    monkeypatch.setenv("MESH_LOG__LEVEL", "debug")
    addresses = free_address(), free_address()

    async def scenario(frozen):
        async with (
            mesh.connect(*addresses, timeout_seconds=PATIENCE) as speaker,
            speaker.subscribe("room:*") as broadcasts,
        ):
            publisher = speaker._bus.publisher
            await until(lambda: len(publisher.in_use) == 2)
            assert {publisher.proxy_of(f"room:{number}") for number in range(8)} == set(addresses)
            frozen.send_signal(signal.SIGSTOP)
            try:
                for number in range(16):
                    await speaker.broadcast(f"room:{number % 8}", "e", {"n": number})
                async with mesh.connect(*addresses, timeout_seconds=PATIENCE) as late:
                    await late.broadcast("room:late", "e", {"n": 16})
            finally:
                frozen.send_signal(signal.SIGCONT)
            await until(lambda: len(publisher.in_use) == 2)
            await speaker.broadcast("room:0", "e", {"n": 17})
            heard = [(each.topic, each.payload["n"]) for each in await following(broadcasts, 18)]
            assert sorted(number for _, number in heard) == list(range(18))
            for topic in {topic for topic, _ in heard}:
                numbers = [number for each, number in heard if each == topic]
                assert numbers == sorted(numbers)

    with (
        node(tmp_path, "proxy", "--bind", addresses[0]) as one,
        node(tmp_path, "proxy", "--bind", addresses[1]) as two,
    ):
        for each in (one, two):
            each.wait_for("subscribers")
        asyncio.run(scenario(one.popen))


def test_a_backlog_that_is_full_is_told(tmp_path, monkeypatch):
    """A frozen proxy takes what fits into queues and buffers; behind that wait 20 messages, not one more."""
    for name, value in (("HIGH_WATER_MARK", "10"), ("BACKLOG_MESSAGES", "20")):
        monkeypatch.setenv(f"MESH_BUS__{name}", value)
    for name in ("PROXY_TIMEOUT", "HEARTBEAT_TIMEOUT"):
        monkeypatch.setenv(f"MESH_BUS__{name}_SECONDS", "120")
    address, data = free_address(), b"x" * 100_000

    async def scenario(frozen):
        async with (
            mesh.connect(address, timeout_seconds=PATIENCE) as speaker,
            speaker.subscribe("room:1", max_queued=10_000) as heard,
        ):
            own, dropped = speaker._bus, []

            def publish_too_much():
                for number in range(1_000):
                    before = own.publisher.dropped
                    own.publish("room:1", f"{number}", BINARY, data, None)
                    if own.publisher.dropped > before:
                        dropped.append(number)
                assert own.publisher.backlog == 20

            before = counters.value("bus_backlog_dropped")
            frozen.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(UnreachableError, match="overloaded"):
                    await delivery.deliver(own, publish_too_much, 60.0)
            finally:
                frozen.send_signal(signal.SIGCONT)
            assert counters.value("bus_backlog_dropped") - before == len(dropped) > 0
            await until(lambda: not own.publisher.backlog)
            await speaker.broadcast("room:1", "last", {})
            kept = [number for number in range(1_000) if number not in set(dropped)]
            events = [each.event for each in await following(heard, len(kept) + 1)]
            assert events == [*map(str, kept), "last"], "what was kept comes, in order"

    with node(tmp_path, "proxy", "--bind", address) as one:
        one.wait_for("subscribers")
        asyncio.run(scenario(one.popen))


def test_wrong_arguments_are_told():
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


def test_a_program_that_connects_prints_nothing_of_ours_but_warnings_on_stderr(tmp_path):
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
