"""A transport is one file and its registration: the gateway knows nothing else of it."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

from mesh import Channel, Endpoint, SocketHandler, ok, on
from mesh.gateway.transports import registry
from mesh.nodes.embedded import EmbeddedNode
from mesh.settings import build
from tests.contract import sse_transport
from tests.contract.transport_peers import EventsPeer
from tests.support.until import until
from tests.support.websocket import run


class Room(Channel):
    @on("echo")
    def echo(self, payload):
        self.broadcast("told", payload)
        return ok({"transport": self.socket.transport})


class User(SocketHandler):
    channels = {"room:*": Room}


class Running:
    """What a peer asks of a gateway."""

    def __init__(self, url):
        self.url = url

    async def saying(self, request):
        await request


def test_a_transport_that_is_registered_serves_channels_and_drains(monkeypatch):
    monkeypatch.setattr(registry, "TRANSPORTS", [*registry.TRANSPORTS, sse_transport.ServerSentEvents])

    async def story():
        endpoint, settings = Endpoint(sockets={"/socket": User}), build({"gateway": {"port": 0}})
        async with AsyncExitStack() as stack:
            node = await EmbeddedNode.start(stack, endpoint, settings)
            peer = await EventsPeer.connect(Running(node.gateway.addresses[0]))
            await peer.say(json.dumps(["1", "1", "room:1", "phx_join", {}]))
            assert (await peer.next())[3:] == ["phx_reply", {"status": "ok", "response": {}}]
            await peer.say(json.dumps(["1", "2", "room:1", "echo", {"n": 1}]))
            got = [(await peer.next())[3:] for _ in range(2)]
            assert got == [
                ["told", {"n": 1}],
                ["phx_reply", {"status": "ok", "response": {"transport": "sse"}}],
            ]
            clients, channels, _ = node.gateway.hub.counts()
            assert (clients["sse"], channels) == (1, 1)
            peer.leave()
            await until(lambda: not node.gateway.hub.clients)

    run(story())


def test_it_is_one_file_of_at_most_250_lines():
    assert len(Path(sse_transport.__file__).read_text().splitlines()) <= 250
