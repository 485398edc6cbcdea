"""What every transport guarantees (gateway/transports/base.py), run on each with a client of its own."""

import asyncio
import contextlib
from itertools import count
from types import SimpleNamespace

import pytest
import zmq

from gateway.client import Client
from gateway.fanout.delivery_stats import SLOW_CLIENT, DeliveryStats, TopicStats
from gateway.flow.outbox import Flusher
from gateway.flow.watermark import HighWatermark
from gateway.http.application import make_application
from gateway.http.bodies import Bodies
from gateway.http.listener import Listener
from gateway.http.server import GatewayServer
from gateway.socket_ids import SocketIds
from gateway.transports.server import Services
from mesh import Channel, Endpoint, Mount, SocketHandler, refuse
from mesh.errors import CloseCode
from mesh.messages import JSON
from mesh.settings import GatewaySettings, LimitSettings, build
from mesh.telemetry import counters
from nodes import listening
from tests.contract.transport_peers import PEERS, Ended, MemoryPeer, Refused
from tests.support.bus import Bus
from tests.support.until import PATIENCE, until
from tests.support.websocket import run

BIG = "x" * 20_000
SETTLED_SECONDS = 0.2
"""Nothing that is not to happen happens within this time."""


class Room(Channel):
    """Some channel."""


class User(SocketHandler):
    channels = {"room:*": Room}

    def connect(self, params, info):
        if params.get("user") == "nobody":
            return refuse("unknown")
        self.user = params["user"]
        self.assign(transport=info.transport)

    def id(self):
        return f"users:{self.user}"


class Hub:
    """Keeps what a transport tells it; a client that is gone asks its transport for nothing more."""

    def __init__(self):
        self.bus = Bus()
        self.socket_ids = SocketIds(self.bus)
        self.clients, self.messages, self.gone = [], [], []
        self.subscribed_before = None
        self.numbers = count(1)

    def connect(self, mount, id, assigns, encoding, transport, outbox):
        self.subscribed_before = list(self.bus.subscribed)
        client = Client(
            mount, id, assigns, encoding, transport, outbox,
            self.numbers.__next__, GatewaySettings(), LimitSettings(),
        )  # fmt: skip
        self.socket_ids.add(client)
        self.clients.append(client)
        return client

    def received(self, client, data, binary):
        assert client in self.clients
        self.messages.append(bytes(data).decode())

    def disconnected(self, client, reason):
        if client in self.clients:  # as the hub: the second time has no effect
            self.clients.remove(client)
            self.socket_ids.remove(client)
        self.gone.append(client)

    def close(self, client, code):
        """As the hub closes a client."""
        client.transport.close(code, "the reason")
        self.disconnected(client, "closed")


class Gateway:
    """A gateway that has one transport."""

    def __init__(self, transport, hub, url, peer):
        self.transport, self.hub, self.url, self.peer = transport, hub, url, peer
        self.sayings = []
        self.ended = False

    async def saying(self, request):
        """Wait for a request, but not for one that the gateway keeps waiting."""
        self.sayings.append(asyncio.ensure_future(request))
        await asyncio.wait(self.sayings[-1:], timeout=1.0)

    async def connect(self, query="user=1"):
        """(peer, the hub's client)."""
        peer = await self.peer.connect(self, query)
        return peer, await until(lambda: self.hub.clients and self.hub.clients[-1])


def frame(client, number, event="e"):
    encoded = client.encoding.serializer.encode_push("1", "room:1", event, JSON, b"%d" % number)
    return client.encoding.ready(encoded)


@contextlib.asynccontextmanager
async def gateway(peer, **settings):
    given = build(
        {
            "gateway": {"max_unsent_bytes": 100_000, **settings.get("gateway", {})},
            "longpoll": settings.get("longpoll", {}),
            "zeromq": {"high_water_mark": 10},
        }
    )
    hub, context = Hub(), zmq.Context()
    endpoint = Endpoint(sockets={"/socket": Mount(User, longpoll=True)})
    bodies = Bodies(given.gateway.max_body_bytes, given.gateway.max_bodies_bytes)
    services = Services("g", hub, endpoint, given, "s" * 32, SimpleNamespace(), context, Flusher(), bodies)
    transport = peer.make(services)
    server = GatewayServer(make_application(endpoint, transport.routes(), bodies), settings=given.gateway)
    shortcuts = [transport.shortcut] if transport.shortcut is not None else []
    listener = Listener(server, shortcuts, given.gateway)
    sockets = listening.listen(["127.0.0.1"], 0)
    listener.add_sockets(sockets)
    transport.start()
    made = Gateway(transport, hub, f"http://127.0.0.1:{sockets[0].getsockname()[1]}", peer)
    try:
        yield made
    finally:
        listener.close()
        transport.stop_accepting()
        for client in list(hub.clients):
            hub.close(client, CloseCode.SERVICE_RESTART)
        if not made.ended:
            await transport.aclose(0.1)
        for saying in made.sayings:
            saying.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await server.close_all_connections()
        context.term()


@pytest.fixture(params=PEERS, ids=lambda each: each.__name__.removesuffix("Peer"))
def scenario(request):
    """A decorator's work: run a story with a gateway of each transport."""

    def go(story, **settings):
        async def main():
            async with gateway(request.param, **settings) as made:
                await story(made)

        run(main())

    return go


def test_an_admitted_client_is_given_to_the_hub_once_after_its_id_is_subscribed(scenario):
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
        assert gateway.hub.gone == [client], "the hub closed it: nobody tells the hub"

    scenario(story)


def test_after_a_close_nothing_reaches_the_hub_and_late_requests_have_no_effect(scenario):
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


def test_the_hub_is_told_once_of_a_client_that_goes_away(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        peer.leave()
        await until(lambda: gateway.hub.gone)
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.gone == [client]
        assert gateway.hub.bus.subscribed == []
        client.outbox.send(frame(client, 1))  # of a fan-out that was under way

    scenario(story, longpoll={"window_seconds": 0.3})


def test_a_paused_client_is_not_heard_until_it_is_resumed(scenario):
    async def story(gateway):
        peer, client = await gateway.connect()
        client.transport.pause()
        await peer.say("[1]")
        await peer.say("[2]")
        await asyncio.sleep(SETTLED_SECONDS)
        assert gateway.hub.messages == []
        client.outbox.send(frame(client, 5))
        assert (await peer.next())[4] == 5, "it is still sent to"
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


def test_a_slow_close_takes_effect_in_a_later_tick_and_counts_what_was_lost(scenario):
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


def test_what_waits_for_a_client_is_bounded_and_counted_when_it_is_closed_for_that(scenario):
    async def story(gateway):
        _, client = await gateway.connect()
        ledger = TopicStats("room:1", "close", 10, DeliveryStats())
        largest, sent = 0, 0
        encoded = client.encoding.serializer.encode_broadcast("room:1", "e", JSON, f'"{BIG}"'.encode())
        async with asyncio.timeout(PATIENCE):
            while not gateway.hub.gone:
                ready = client.encoding.broadcast(client.encoding.ready(encoded), ledger, "e")
                ledger.arrive(1)
                ledger.queue(1)
                client.outbox.send(ready)
                sent += 1
                largest = max(largest, client.outbox.unsent_bytes)
                await asyncio.sleep(0)
        assert gateway.hub.gone == [client]
        assert largest <= 100_000 + 2 * len(BIG)
        assert ledger.unsent == 0
        assert ledger.dropped.get(SLOW_CLIENT), ledger.dropped
        assert ledger.delivered + sum(ledger.dropped.values()) == sent

    scenario(story)


def test_the_watermark_is_told_when_much_waits_and_when_it_has_gone(scenario):
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


def test_a_client_that_is_silent_for_too_long_is_closed(scenario, request):
    async def story(gateway):
        if not gateway.peer.falls_silent:
            return
        peer, client = await gateway.connect()
        await until(lambda: gateway.hub.gone)
        assert gateway.hub.gone == [client]
        if gateway.peer.notices:
            with pytest.raises(Ended) as ended:
                await peer.next()
            assert ended.value.code == CloseCode.PROTOCOL_ERROR

    scenario(story, gateway={"idle_timeout_seconds": 0.5}, longpoll={"window_seconds": 0.3})


def test_a_gateway_that_ends_leaves_nothing_behind(scenario):
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
