"""A gateway with one transport and a hub that records, for the tests of the transport contract."""

import asyncio
import contextlib
from itertools import count
from types import SimpleNamespace

import zmq

from mesh import Channel, Endpoint, Mount, SocketHandler, refuse
from mesh.errors import CloseCode
from mesh.gateway.client import Client
from mesh.gateway.flow.outbox import Flusher
from mesh.gateway.http.application import make_application
from mesh.gateway.http.bodies import Bodies
from mesh.gateway.http.listener import Listener
from mesh.gateway.http.server import GatewayServer
from mesh.gateway.socket_ids import SocketIds
from mesh.gateway.transports.server import Services
from mesh.nodes import listening
from mesh.settings import GatewaySettings, LimitSettings, build
from tests.support.bus import Bus
from tests.support.until import until


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


@contextlib.asynccontextmanager
async def gateway(peer, hub=None, user=User, **settings):
    given = build(
        {
            "gateway": {"max_unsent_bytes": 100_000, **settings.get("gateway", {})},
            "longpoll": settings.get("longpoll", {}),
            "zeromq": {"high_water_mark": 10},
        }
    )
    hub, context = hub or Hub(), zmq.Context()
    endpoint = Endpoint(sockets={"/socket": Mount(user, longpoll=True)})
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
            client.transport.close(CloseCode.SERVICE_RESTART, "the reason")
            hub.disconnected(client, "closed")
        if not made.ended:
            await transport.aclose(0.1)
        for saying in made.sayings:
            saying.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await server.close_all_connections()
        context.term()
