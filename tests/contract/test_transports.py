"""What every transport guarantees (gateway/transports/base.py), run on each with a client of its own."""

import asyncio
import contextlib

import pytest

from mesh.errors import CloseCode
from mesh.gateway.fanout.delivery_stats import SLOW_CLIENT, DeliveryStats, TopicStats
from mesh.gateway.flow.watermark import HighWatermark
from mesh.protocol.messages import JSON
from mesh.telemetry import counters
from tests.contract.transport_gateway import gateway
from tests.contract.transport_peers import PEERS, Ended, MemoryPeer, Refused
from tests.support.until import PATIENCE, until
from tests.support.websocket import run

BIG = "x" * 20_000


SETTLED_SECONDS = 0.2
"""How long a test waits to see that something does not happen."""


def frame(client, number, event="e"):
    encoded = client.encoding.serializer.encode_push("1", "room:1", event, JSON, b"%d" % number)
    return client.encoding.ready(encoded)


@pytest.fixture(params=PEERS, ids=lambda each: each.__name__.removesuffix("Peer"))
def scenario(request):
    """A decorator's work: run a story with a gateway of each transport."""

    def go(story, **settings):
        async def main():
            async with gateway(request.param, **settings) as made:
                await story(made)

        run(main())

    return go


def test_an_admitted_client_reaches_the_hub_once_after_its_id_is_subscribed(scenario):
    async def story(gateway):
        _, client = await gateway.connect("user=7")
        assert gateway.hub.clients == [client]
        assert gateway.hub.subscribed_before == [b"users:7\0"]
        assert (client.mount, client.id) == ("/socket", "users:7")
        assert client.transport.name == gateway.transport.name
        gateway.hub.close(client, CloseCode.GOING_AWAY)
        assert gateway.hub.bus.subscribed == []

    scenario(story)


def test_a_client_that_the_application_refuses_never_reaches_the_hub(scenario):
    async def story(gateway):
        with pytest.raises(Refused):
            await gateway.peer.connect(gateway, "user=nobody")
        assert gateway.hub.clients == []
        assert gateway.hub.bus.subscribed == []

    scenario(story)


def test_messages_reach_the_hub_in_the_order_in_which_they_were_sent(scenario):
    async def story(gateway):
        peer, _ = await gateway.connect()
        for number in range(5):
            await peer.say(f"[{number}]")
        await until(lambda: len(gateway.hub.messages) == 5)
        assert gateway.hub.messages == ["[0]", "[1]", "[2]", "[3]", "[4]"]

    scenario(story)


def test_frames_reach_the_client_in_the_order_of_send(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        for number in range(50):
            client.outbox.send(frame(client, number))
        assert [(await peer.next())[4] for _ in range(50)] == list(range(50))
        await until(lambda: not client.outbox.unsent_bytes)

    scenario(story)


def test_a_close_delivers_what_was_queued_and_then_the_code(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        for number in range(3):
            client.outbox.send(frame(client, number))
        gateway.hub.close(client, CloseCode.SERVICE_RESTART)
        assert [(await peer.next())[4] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(Ended) as ended:
            await peer.next()
        assert ended.value.code == (CloseCode.SERVICE_RESTART if peer.tells_code else None)
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.gone == [client], "the hub closed it: it is not reported to the hub"

    scenario(story)


def test_after_a_close_nothing_reaches_the_hub_and_late_calls_have_no_effect(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        gateway.hub.close(client, CloseCode.GOING_AWAY)
        transport = client.transport
        with contextlib.suppress(Ended, OSError):
            await peer.say("[9]")
        client.outbox.send(frame(client, 1))
        transport.close(CloseCode.GOING_AWAY, "again")
        transport.pause()
        transport.resume()
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.messages == []
        assert gateway.hub.gone == [client]

    scenario(story)


def test_a_client_that_disconnects_is_reported_to_the_hub_once(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        peer.leave()
        await until(lambda: gateway.hub.gone)
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.gone == [client]
        assert gateway.hub.bus.subscribed == []
        client.outbox.send(frame(client, 1))  # of a fan-out that was under way

    scenario(story, longpoll={"window_seconds": 0.3})


def test_messages_of_a_paused_client_reach_the_hub_when_it_is_resumed(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        client.transport.pause()
        await peer.say("[1]")
        await peer.say("[2]")
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.messages == []
        client.outbox.send(frame(client, 5))
        assert (await peer.next())[4] == 5, "it still receives"
        client.transport.resume()
        await until(lambda: len(gateway.hub.messages) == 2)
        await peer.say("[3]")
        await until(lambda: len(gateway.hub.messages) == 3)
        assert gateway.hub.messages == ["[1]", "[2]", "[3]"]

    scenario(story)


def test_a_paused_client_can_be_closed(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        client.transport.pause()
        await peer.say("[1]")
        gateway.hub.close(client, CloseCode.GOING_AWAY)
        with pytest.raises(Ended):
            await peer.next()
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.messages == []

    scenario(story)


def test_a_slow_close_takes_effect_in_a_later_tick_and_is_counted(scenario):
    async def story(gateway):
        _, client = await gateway.connect()
        before = counters.value("slow_clients_closed")
        client.transport.close_slow(1)
        assert gateway.hub.gone == [], "the hub may be inside a fan-out"
        await until(lambda: gateway.hub.gone)
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.gone == [client]
        assert counters.value("slow_clients_closed") == before + 1

    scenario(story)


def test_unsent_bytes_are_bounded_and_counted_as_dropped_when_the_client_is_closed(scenario):
    async def story(gateway):
        _, client = await gateway.connect()
        stats = TopicStats("room:1", "close", 10, DeliveryStats())
        largest, sent = 0, 0
        encoded = client.encoding.serializer.encode_broadcast("room:1", "e", JSON, f'"{BIG}"'.encode())
        async with asyncio.timeout(PATIENCE):
            while not gateway.hub.gone:
                ready = client.encoding.broadcast(client.encoding.ready(encoded), stats, "e")
                stats.arrive(1)
                stats.queue(1)
                client.outbox.send(ready)
                sent += 1
                largest = max(largest, client.outbox.unsent_bytes)
                await asyncio.sleep(0)
        assert gateway.hub.gone == [client]
        assert largest <= 100_000 + 2 * len(BIG)
        assert stats.unsent == 0
        assert stats.dropped.get(SLOW_CLIENT), stats.dropped
        assert stats.delivered + sum(stats.dropped.values()) == sent

    scenario(story)


def test_the_watermark_is_called_above_and_again_below_its_limit(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        told = []
        client.outbox.watermark = HighWatermark(30_000, told.append)
        encoded = client.encoding.serializer.encode_push("1", "room:1", "e", JSON, f'"{BIG}"'.encode())
        sent = 0
        async with asyncio.timeout(PATIENCE):
            while True not in told:
                client.outbox.send(client.encoding.ready(encoded))
                sent += 1
                await asyncio.sleep(0)
        for _ in range(sent):
            await peer.next()
        await until(lambda: told == [True, False])

    scenario(story)


def test_a_client_that_is_silent_beyond_the_idle_timeout_is_closed(scenario):
    async def story(gateway):
        if not gateway.peer.falls_silent:
            pytest.skip("its clients cannot fall silent: an open stream is a sign of life")
        peer, client = await gateway.connect()
        await until(lambda: gateway.hub.gone)
        assert gateway.hub.gone == [client]
        if gateway.peer.notices:
            with pytest.raises(Ended) as ended:
                await peer.next()
            assert ended.value.code == CloseCode.PROTOCOL_ERROR

    scenario(story, gateway={"idle_timeout_seconds": 0.5}, longpoll={"window_seconds": 0.3})


def test_aclose_leaves_no_connection_and_no_subscription(scenario):
    async def story(gateway):
        await gateway.connect()
        gateway.transport.stop_accepting()
        for client in list(gateway.hub.clients):
            gateway.hub.close(client, CloseCode.SERVICE_RESTART)
        gateway.ended = True
        await gateway.transport.aclose(0.1)
        if gateway.peer is MemoryPeer:
            assert not gateway.transport.connections
        assert gateway.hub.bus.subscribed == []

    scenario(story)
