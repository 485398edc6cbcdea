"""A Phoenix V2 client over plain ZeroMQ, with pyzmq's own sockets."""

import asyncio
import json

import zmq
import zmq.asyncio

from tests.support import websocket
from tests.support.until import PATIENCE
from tests.support.websocket import PhoenixClient


class Closed(Exception):
    """The gateway closed or refused."""

    def __init__(self, kind, content):
        super().__init__(f"{kind} {content}")
        self.kind, self.content = kind, content


async def closed(client):
    """What the gateway's C says; what comes before it is dropped."""
    while True:
        try:
            await client.next()
        except Closed as caught:
            return caught.content


class _Closer:
    """Looks like a StreamWriter to `websocket.run`, which closes whatever a test has left open."""

    def __init__(self, socket, context):
        self.socket, self.context = socket, context
        self.transport = self

    def abort(self):
        self.socket.close(0)
        self.context.term()

    async def wait_closed(self):
        pass


class Dealer:
    """A DEALER that says what it is told."""

    def __init__(self, address, **options):
        self.context = zmq.asyncio.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.connect(address)
        websocket._open.append(_Closer(self.socket, self.context))

    def send(self, *frames):
        self.socket.send_multipart(frames)

    async def recv(self, seconds=PATIENCE):
        async with asyncio.timeout(seconds):
            return await self.socket.recv_multipart()

    async def next(self, *kinds):
        """The next message of one of these kinds; the gateway's own P need no answer."""
        while True:
            kind, data = await self.recv()
            if kind in kinds:
                return kind, data
            assert kind == b"P", (kind, data)

    async def open(self, path="/socket", **params):
        self.send(b"O", json.dumps({"path": path, "params": {"vsn": "2.0.0", **params}}).encode())
        while True:
            kind, data = await self.next(b"O", b"R", b"C")
            content = json.loads(data)
            if kind == b"O":
                return content
            if content.get("code") != 4000:  # else the answer to what was said before opening
                raise Closed(kind, content)


class ZeroMQClient(PhoenixClient):
    """The same verbs as over a WebSocket."""

    @classmethod
    async def connect(cls, address, query="", headers=None):
        dealer = Dealer(address)
        await dealer.open(**dict(pair.split("=") for pair in query.split("&") if pair))
        return cls(dealer)

    def say(self, *message):
        self.socket.send(b"T", json.dumps(list(message)).encode())

    async def _receive(self, seconds=PATIENCE):
        async with asyncio.timeout(seconds):
            kind, data = await self.socket.next(b"T", b"B", b"C")
        if kind == b"C":
            raise Closed(kind, json.loads(data))
        assert kind == b"T", data
        return json.loads(data)

    def close(self):
        self.socket.send(b"C")
