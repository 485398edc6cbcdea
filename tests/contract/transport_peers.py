"""Clients of every transport, by one interface, for tests/contract/test_transports.py."""

import asyncio
import json
from collections import deque
from urllib.parse import urlsplit

from mesh.gateway.transports import memory
from mesh.gateway.transports.admission import RefusedError
from mesh.gateway.transports.longpoll.server import LongPoll
from mesh.gateway.transports.websocket.server import WebSockets
from mesh.gateway.transports.zeromq.server import ZeroMQ
from tests.contract.sse_transport import ServerSentEvents
from tests.support import longpoll, websocket, zeromq
from tests.support.until import PATIENCE


class Refused(Exception):
    """The client was not let in."""


class Ended(Exception):
    """The gateway has ended the connection, with this code if it told one."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Peer:
    """One client.

    Attributes:
        make: the transport's maker.
        tells_code: whether clients learn the close code.
        notices: whether the gateway notices at once that a client is gone.
        falls_silent: whether a client that does nothing is silent.
    """

    tells_code = notices = falls_silent = True

    @classmethod
    async def connect(cls, gateway, query="user=1"):
        """Raises Refused."""

    async def say(self, text):
        """Send a message; returns when the gateway has it, where that can be known."""

    async def next(self):
        """The next message. Raises Ended."""

    def leave(self):
        """Go away."""


class WebSocketPeer(Peer):
    make = WebSockets

    def __init__(self, socket):
        self.socket = socket

    @classmethod
    async def connect(cls, gateway, query="user=1"):
        url = f"{gateway.url}/socket/websocket?vsn=2.0.0&{query}"
        try:
            return cls(await websocket.RawWebSocket.connect(url))
        except websocket.Refused as refused:
            raise Refused from refused

    async def say(self, text):
        self.socket.send_text(text)

    async def next(self):
        try:
            opcode, payload = await self.socket.recv()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Ended(None) from None
        if opcode == websocket.CLOSE:
            raise Ended(int.from_bytes(payload[:2], "big"))
        return json.loads(payload)

    def leave(self):
        self.socket.abort()


class LongPollPeer(Peer):
    make = LongPoll
    tells_code = notices = False

    def __init__(self, gateway, session):
        self.gateway, self.session = gateway, session
        self.messages = deque()

    @classmethod
    async def connect(cls, gateway, query="user=1"):
        session = longpoll.LongPoll([gateway.url], f"vsn=2.0.0&{query}")
        try:
            return cls(gateway, await session.open())
        except (AssertionError, KeyError):
            raise Refused from None

    async def say(self, text):
        await self.gateway.saying(self.session.post(text))

    async def next(self):
        while not self.messages:
            status, messages = await self.session.poll()
            if status == 410:
                raise Ended(None)
            self.messages.extend(messages)
        return self.messages.popleft()

    def leave(self):
        """It polls no more."""


class ZeroMQPeer(Peer):
    def make(services):
        return ZeroMQ(services, "tcp://127.0.0.1:*")

    def __init__(self, dealer):
        self.dealer = dealer

    @classmethod
    async def connect(cls, gateway, query="user=1"):
        dealer = zeromq.Dealer(gateway.transport.address, RCVHWM=10)
        try:
            await dealer.open(**dict(pair.split("=") for pair in query.split("&")))
        except zeromq.Closed as closed:
            raise Refused from closed
        return cls(dealer)

    async def say(self, text):
        self.dealer.send(b"T", text.encode())

    async def next(self):
        kind, data = await self.dealer.next(b"T", b"C")
        if kind == b"C":
            raise Ended(json.loads(data)["code"])
        return json.loads(data)

    def leave(self):
        self.dealer.socket.close(0)


class MemoryPeer(Peer):
    make = memory.MemoryServer

    def __init__(self, gateway, client):
        self.gateway, self.client = gateway, client

    @classmethod
    async def connect(cls, gateway, query="user=1"):
        params = dict(pair.split("=") for pair in query.split("&"))
        try:
            return cls(gateway, await gateway.transport.connect("/socket", {"vsn": "2.0.0", **params}))
        except RefusedError as refused:
            raise Refused from refused

    async def say(self, text):
        await self.gateway.saying(self.client.send(text.encode()))

    async def next(self):
        try:
            return json.loads(await self.client.next())
        except memory.MemoryClosedError as closed:
            raise Ended(closed.code) from None

    def leave(self):
        self.client.disconnect()


class EventsPeer(Peer):
    make = ServerSentEvents
    falls_silent = False  # an open stream is a sign of life

    def __init__(self, gateway, reader, writer):
        self.gateway, self.reader, self.writer = gateway, reader, writer

    @classmethod
    async def connect(cls, gateway, query="user=1"):
        parts = urlsplit(gateway.url)
        reader, writer = await websocket.open_connection(parts.hostname, parts.port)
        writer.write(f"GET /socket/sse?vsn=2.0.0&{query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise Refused
        peer = cls(gateway, reader, writer)
        kind, peer.post_to = await peer._event()
        assert kind == "open"
        return peer

    async def _event(self):
        """(event, data); Tornado sends chunks, none of which ends within a line."""
        kind, data = "message", None
        while True:
            line = (await self.reader.readline()).decode()
            if not line:
                raise Ended(None)
            name, _, value = line.strip().partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif not line.strip() and data is not None:
                return kind, data

    async def say(self, text):
        await self.gateway.saying(longpoll.http(self.gateway.url, "POST", self.post_to, body=text.encode()))

    async def next(self):
        async with asyncio.timeout(PATIENCE):
            kind, data = await self._event()
        if kind == "close":
            raise Ended(int(data))
        return json.loads(data)

    def leave(self):
        self.writer.transport.abort()


PEERS = [WebSocketPeer, LongPollPeer, ZeroMQPeer, MemoryPeer, EventsPeer]
