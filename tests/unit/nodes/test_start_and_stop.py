"""Nodes start and stop by one list: what a start has done is undone in the reverse order, and nothing else."""

import asyncio
import socket
import threading
from contextlib import AsyncExitStack

import pytest

from mesh import Channel, Endpoint, SocketHandler, telemetry
from mesh.bus.discovery.announcements import Announcer
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.errors import ApplicationError, NodeError
from mesh.gateway.transports import registry
from mesh.link.router import Router
from mesh.nodes import gateway
from mesh.nodes.admin import AdminServer
from mesh.nodes.embedded import EmbeddedNode
from mesh.nodes.gateway import GatewayNode
from mesh.nodes.health import Prober
from mesh.nodes.proxy import ProxyNode
from mesh.nodes.runtime import lifecycle
from mesh.nodes.worker import WorkerNode
from mesh.settings import build
from mesh.worker.background import BackgroundTasks
from mesh.worker.channels import Channels
from mesh.worker.presence.registry import PresenceRegistry
from tests.support.proxy import free_address


class Room(Channel):
    """Some channel."""


class User(SocketHandler):
    channels = {"room:*": Room}


def app():
    return Endpoint(sockets={"/socket": User})


def settings(tmp_path, **sections):
    proxies = [f"ipc://{tmp_path}/proxy"]
    return build({"gateway": {"port": 0}, "bus": {"proxies": proxies}, **sections})


class Told:
    """The names of the methods that were called, in order."""

    def __init__(self, monkeypatch):
        self.names = []
        self._monkeypatch = monkeypatch

    def watch(self, kind, *methods):
        for name in methods:
            self._monkeypatch.setattr(kind, name, self._telling(kind, name, getattr(kind, name)))

    def _telling(self, kind, name, method):
        def told(*arguments, **named):
            self.names.append(f"{kind.__name__}.{name}")
            return method(*arguments, **named)

        return told


@pytest.fixture
def told(monkeypatch):
    return Told(monkeypatch)


def relays():
    return [each for each in threading.enumerate() if each.name == "proxy"]


def test_a_worker_says_goodbye_first_and_closes_its_links_after_its_channels(tmp_path, told):
    told.watch(Prober, "drain", "close")
    told.watch(Announcer, "close")
    told.watch(BackgroundTasks, "aclose")
    told.watch(PresenceRegistry, "gossip_now", "wait_until_taken_over", "close")
    told.watch(Channels, "move_away", "aclose", "links_closed")
    told.watch(Router, "close")
    told.watch(AdminServer, "close")
    told.watch(ZeroMQBus, "close")

    async def scenario():
        async with AsyncExitStack() as stack:
            await WorkerNode.start(stack, app(), settings(tmp_path))
            assert told.names == []

    asyncio.run(scenario())
    assert told.names[:8] == [
        "Prober.drain",
        "Announcer.close",
        "BackgroundTasks.aclose",
        "PresenceRegistry.gossip_now",
        "Channels.move_away",
        "Channels.aclose",
        "PresenceRegistry.wait_until_taken_over",
        "PresenceRegistry.close",
    ]
    assert sorted(told.names[8:-1]) == [
        "AdminServer.close", "Channels.links_closed", "Prober.close", "Router.close",
    ]  # fmt: skip
    assert told.names[-1] == "ZeroMQBus.close"


def test_a_gateway_closes_its_clients_before_it_says_goodbye(tmp_path, told, monkeypatch):
    async def drain(hub, _):
        told.names.append("drain")

    monkeypatch.setattr(gateway, "drain", drain)
    told.watch(Prober, "drain")
    told.watch(gateway.Listener, "close")
    told.watch(gateway.GatewayServer, "finish")
    for transport in registry.TRANSPORTS[:2]:
        told.watch(transport, "stop_accepting", "aclose")
    told.watch(Announcer, "close")
    told.watch(gateway.WorkerLinks, "close")
    told.watch(gateway.Calls, "close")
    told.watch(gateway.Responder, "close")
    told.watch(gateway.Hub, "close")
    told.watch(ZeroMQBus, "close")

    async def scenario():
        async with AsyncExitStack() as stack:
            await GatewayNode.start(stack, app(), settings(tmp_path))
            assert told.names == []

    asyncio.run(scenario())
    assert told.names == [
        "Prober.drain",
        "Listener.close",
        "WebSockets.stop_accepting",
        "LongPoll.stop_accepting",
        "drain",
        "GatewayServer.finish",
        "drain",
        "WebSockets.aclose",
        "LongPoll.aclose",
        "Announcer.close",
        "WorkerLinks.close",
        "Calls.close",
        "Responder.close",
        "Hub.close",
        "ZeroMQBus.close",
    ]


def test_a_gateway_whose_port_is_in_use_undoes_only_what_it_has_done(tmp_path, told):
    told.watch(Announcer, "start", "close")
    told.watch(ZeroMQBus, "start", "close")
    endpoint = app()

    async def scenario(port):
        async with AsyncExitStack() as stack:
            given = settings(tmp_path, gateway={"host": ["127.0.0.1"], "port": port})
            await GatewayNode.start(stack, endpoint, given)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NodeError):
            asyncio.run(scenario(taken.getsockname()[1]))
    assert told.names == ["ZeroMQBus.close"]
    with pytest.raises(ApplicationError):
        _ = endpoint.pubsub


def test_a_gateway_that_cannot_start_a_transport_gives_its_port_back(tmp_path, monkeypatch):
    def fails(_services):
        raise NodeError("no")

    monkeypatch.setattr(registry, "TRANSPORTS", [*registry.TRANSPORTS, fails])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def scenario():
        async with AsyncExitStack() as stack:
            given = settings(tmp_path, gateway={"host": ["127.0.0.1"], "port": port})
            await GatewayNode.start(stack, app(), given)

    with pytest.raises(NodeError, match="no"):
        asyncio.run(scenario())
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_an_embedded_node_stops_the_gateway_the_worker_and_the_proxy(tmp_path):
    events = []

    def hear(event, _measurements, metadata):
        events.append((event, metadata["kind"]))

    async def scenario():
        async with AsyncExitStack() as stack:
            await EmbeddedNode.start(stack, app(), build({"gateway": {"port": 0}}))
            assert len(relays()) == 1

    for event in ("node_started", "node_stopped"):
        telemetry.attach(event, hear)
    try:
        asyncio.run(scenario())
    finally:
        for event in ("node_started", "node_stopped"):
            telemetry.detach(event, hear)
    assert events == [
        ("node_started", "worker"),
        ("node_started", "gateway"),
        ("node_stopped", "gateway"),
        ("node_stopped", "worker"),
    ]
    assert relays() == []


def test_an_embedded_node_whose_port_is_in_use_leaves_no_relay():
    async def scenario(port):
        async with AsyncExitStack() as stack:
            given = build({"gateway": {"host": ["127.0.0.1"], "port": port}})
            await EmbeddedNode.start(stack, app(), given)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NodeError):
            asyncio.run(scenario(taken.getsockname()[1]))
    assert relays() == []


def test_a_proxy_whose_address_is_in_use_ends_its_context():
    async def scenario():
        async with AsyncExitStack() as stack:
            given = build({"bus": {"proxies": [free_address()]}})
            await ProxyNode.start(stack, given)
            with pytest.raises(NodeError):
                async with AsyncExitStack() as other:
                    await ProxyNode.start(other, given)
            assert len(relays()) == 1

    asyncio.run(scenario())
    assert relays() == []


def test_a_start_that_a_signal_interrupts_is_undone():
    undone = []

    async def start(stack):
        stack.callback(undone.append, "first")
        stack.callback(undone.append, "second")
        await asyncio.Event().wait()

    async def scenario():
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, stop.set)
        async with AsyncExitStack() as stack:
            await lifecycle._start_or_stop(start(stack), stop)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())
    assert undone == ["second", "first"]
