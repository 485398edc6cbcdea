"""A client that asks for a history receives it, in order, over every transport and in every serializer."""

import contextlib
import json

import msgspec
import pytest

from mesh.protocol.messages import BINARY, JSON, Sender
from tests.contract.transport_gateway import gateway
from tests.contract.transport_peers import PEERS, WebSocketPeer, ZeroMQPeer
from tests.support import websocket, zeromq
from tests.support.recorded import EPOCH, Gateway, User
from tests.support.until import until
from tests.support.websocket import run

ASKS = {"history": {"epoch": EPOCH, "offset": 1}}
STATE = {"epoch": EPOCH, "offset": 3, "recovered": True, "count": 2}


class Mesh:
    """A real hub behind one transport; a worker and a bus that say what a test wants."""

    def __init__(self):
        self.gateway = Gateway()
        self.gateway.hub.disconnected(self.gateway.client, "closed")

    async def asked(self, asked=1):
        """Return once joins have reached the worker."""
        await until(lambda: len(self.gateway.workers.sent) == asked)
        assert msgspec.json.decode(self.gateway.workers.sent[-1].data) == ASKS

    def answer(self, codec=JSON, data=b"{}"):
        """Missed, held and live broadcasts, of which the first live one was made by the client."""
        hub = self.gateway
        hub.record(3)
        hub.join(history=True, client=next(iter(hub.hub.clients)))
        hub.record(4, codec=codec, data=data)
        hub.recover(3, count=2)
        hub.miss(2, 3, event="e", codec=codec, data=data)
        hub.record(5, codec=codec, data=data)
        hub.record(6, sender=Sender("g", 1, True))
        hub.record(7)


@contextlib.asynccontextmanager
async def joined(peer):
    """(mesh, gateway)"""
    mesh = Mesh()
    async with gateway(peer, mesh.gateway.hub, User) as made:
        yield mesh, made
        mesh.gateway.hub.close()


@pytest.mark.parametrize("kind", PEERS, ids=lambda each: each.__name__.removesuffix("Peer"))
def test_a_history_over_every_transport(kind):
    async def story():
        async with joined(kind) as (mesh, made):
            peer = await kind.connect(made)
            await peer.say(json.dumps(["1", "1", "room:1", "phx_join", ASKS]))
            await mesh.asked()
            mesh.answer()
            assert (await peer.next())[3] == "phx_reply"
            assert await peer.next() == ["1", None, "room:1", "history_state", STATE]
            for offset in (2, 3, 4, 5):
                assert await peer.next() == [None, f"{EPOCH}:{offset}", "room:1", "e", {}]
            position = {"epoch": EPOCH, "offset": 6}
            assert await peer.next() == [None, None, "room:1", "history_position", position]
            assert (await peer.next())[1] == f"{EPOCH}:7"

    run(story())


def binary_story(kind, send, receive):
    """The same with bytes: each is preceded by its position."""

    async def story():
        async with joined(kind) as (mesh, made):
            client = await send(made, json.dumps(["1", "1", "room:1", "phx_join", ASKS]).encode())
            await mesh.asked()
            mesh.answer(BINARY, b"\x00\xff")
            assert json.loads(await receive(client))[3] == "phx_reply"
            assert json.loads(await receive(client))[3] == "history_state"
            for offset in (2, 3, 4, 5):
                position = {"epoch": EPOCH, "offset": offset, "event": "e"}
                said = json.loads(await receive(client))
                assert said == [None, None, "room:1", "history_position", position]
                assert await receive(client) == b"\x02\x06\x01room:1e\x00\xff"
            assert json.loads(await receive(client))[3] == "history_position"
            assert json.loads(await receive(client))[1] == f"{EPOCH}:7"

    run(story())


def test_bytes_over_websocket():
    async def send(made, text):
        socket = await websocket.RawWebSocket.connect(f"{made.url}/socket/websocket?vsn=2.0.0")
        socket.send_text(text.decode())
        return socket

    async def receive(socket):
        return (await socket.recv())[1]

    binary_story(WebSocketPeer, send, receive)


def test_bytes_over_zeromq():
    async def send(made, text):
        dealer = zeromq.Dealer(made.transport.address)
        await dealer.open()
        dealer.send(b"T", text)
        return dealer

    async def receive(dealer):
        return (await dealer.next(b"T", b"B"))[1]

    binary_story(ZeroMQPeer, send, receive)


V1_JOIN = {"topic": "room:1", "event": "phx_join", "payload": ASKS, "ref": "1"}
SERIALIZERS = {
    "v1": ("vsn=1.0.0", False, json.dumps(V1_JOIN).encode(), json.loads),
    "msgpack": (
        "vsn=2.0.0&format=msgpack",
        True,
        msgspec.msgpack.encode(["1", "1", "room:1", "phx_join", ASKS]),
        msgspec.msgpack.decode,
    ),
}


@pytest.mark.parametrize(("query", "binary", "join", "decode"), SERIALIZERS.values(), ids=SERIALIZERS)
def test_other_serializers_over_websocket(query, binary, join, decode):
    async def story():
        async with joined(WebSocketPeer) as (mesh, made):
            socket = await websocket.RawWebSocket.connect(f"{made.url}/socket/websocket?{query}")
            socket.send_frame(websocket.BINARY if binary else websocket.TEXT, join)
            await until(lambda: mesh.gateway.workers.sent)
            mesh.answer(BINARY if binary else JSON, b"\x00\xff" if binary else b"{}")
            heard = [decode((await socket.recv())[1]) for _ in range(8)]
            if not binary:
                heard = [
                    [None, each["ref"], each["topic"], each["event"], each["payload"]] for each in heard
                ]
            assert [each[3] for each in heard[:2]] == ["phx_reply", "history_state"]
            assert heard[1][4] == STATE
            payload = b"\x00\xff" if binary else {}
            refs = [f"{EPOCH}:{offset}" for offset in (2, 3, 4, 5)]
            assert heard[2:6] == [[None, ref, "room:1", "e", payload] for ref in refs]
            assert heard[6] == [None, None, "room:1", "history_position", {"epoch": EPOCH, "offset": 6}]
            assert heard[7][1] == f"{EPOCH}:7"

    run(story())
