"""mesh.connect while a proxy is absent, frozen, full or restarted."""

import asyncio
import functools
import signal

import msgspec
import pytest
import zmq

import mesh
from mesh.bus import delivery
from mesh.bus.delivery import subscribed
from mesh.bus.zeromq.proxy_connection_phases import Event
from mesh.errors import UnreachableError
from mesh.protocol.messages import BINARY
from mesh.telemetry import counters
from tests.integration.connections import following
from tests.support.processes import node
from tests.support.proxy import bus, free_address, proxy
from tests.support.until import PATIENCE, until


def test_without_a_proxy_connecting_raises_unreachable_error():
    async def scenario():
        address = free_address()
        with pytest.raises(UnreachableError, match=rf"no proxy answered at {address} within 0.2 s; is it"):
            async with mesh.connect(address, timeout_seconds=0.2):
                pass

    asyncio.run(scenario())


def test_a_broadcast_fails_without_a_proxy_and_succeeds_when_one_is_back():
    async def scenario():
        address = free_address()
        async with proxy(address):
            connection = mesh.connect(address)
            pubsub = await connection.__aenter__()
        # Private: a connection has one timeout, which is to be short only while there is no proxy.
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


def test_a_message_lost_with_the_proxy_is_resent_when_it_is_back():
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
            # Private: settings that keep the publisher from noticing, and an echo that no proxy sent.
            node.publisher._settings = msgspec.structs.replace(node.publisher._settings, **patient)
            await until(lambda: takes_and_dies.poll(0) or node.publisher.connections[0].connected)
            node.publisher.connections[0]._handle(Event.ECHOED)  # as if it passed probes on
            node.publisher._choose_proxies()
            delivering = asyncio.create_task(delivery.publish_and_confirm(node, publish, 60.0))
            await until(lambda: takes_and_dies.poll(0))
            node.publisher.node_announced("other", [])  # as it says once it has missed that proxy
            takes_and_dies.close()
            async with proxy(address):
                await subscribed(other)
                node.publisher.node_announced("other", [address])
                await delivering
                await until(lambda: got)
                await subscribed(other)
        assert got == ["e"]

    asyncio.run(scenario())


def test_a_frozen_proxy_does_not_delay_broadcasts_through_the_other(tmp_path, monkeypatch):
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
            publisher = speaker._bus.publisher  # private: which proxy has which topic
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


def test_a_full_backlog_raises_unreachable_error(tmp_path, monkeypatch):
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
            own, dropped = speaker._bus, []  # private: `broadcast` would wait for each message

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
                    await delivery.publish_and_confirm(own, publish_too_much, 60.0)
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
