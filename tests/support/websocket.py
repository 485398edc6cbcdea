"""A WebSocket client that can break every rule, and a Phoenix V2 client above it."""

import asyncio
import json
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.until import LONG, PATIENCE

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


_open = []


def run(scenario, seconds=LONG):
    """Run one test's coroutine and return its result; at its end no connection stays open."""

    async def guarded():
        try:
            async with asyncio.timeout(seconds):
                return await scenario
        finally:
            writers, _open[:] = list(_open), []
            for writer in writers:
                writer.transport.abort()
            for writer in writers:
                try:
                    await writer.wait_closed()
                except ConnectionError:
                    pass

    return asyncio.run(guarded())


async def open_connection(host, port, sock=None, ssl=None):
    """`sock` is connected already; `ssl` is a context."""
    to = {"host": host, "port": port} if sock is None else {"sock": sock}
    reader, writer = await asyncio.open_connection(**to, ssl=ssl)
    _open.append(writer)
    return reader, writer


class Refused(Exception):
    """The server answered with HTTP."""

    def __init__(self, status, headers, body):
        super().__init__(f"HTTP {status}")
        self.status, self.headers, self.body = status, headers, body


def mask(key, payload):
    """RFC 6455 §5.3, on its own: not the server's way of doing it."""
    size = len(payload)
    repeated = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def frame(opcode, payload=b"", *, fin=True, rsv=0, masked=True, length=None):
    """One client frame; `length` replaces the announced length."""
    size = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([bit | size])
    elif size < 65536:
        head = bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([bit | 127]) + size.to_bytes(8, "big")
    key = os.urandom(4)
    body = key + mask(key, payload) if masked else payload
    return bytes([(0x80 if fin else 0) | rsv << 4 | opcode]) + head + body


class RawWebSocket:
    """Bytes in, frames out.

    Attributes:
        headers: of the server's 101, names in lower case.
        close_reason: of the server's close frame, once `recv_close` has seen it.
    """

    def __init__(self, reader, writer, headers=None):
        self.reader, self.writer = reader, writer
        self.headers = headers or {}
        self.close_reason = ""

    @classmethod
    async def connect(cls, url, headers=None, method="GET", offer=(), sock=None):
        """Raises Refused with what the server answers; `offer` are the sub-protocols."""
        parts = urlsplit(url)
        reader, writer = await open_connection(parts.hostname, parts.port, sock)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc, **HANDSHAKE, **(headers or {})}
        if offer:
            sent["Sec-WebSocket-Protocol"] = ", ".join(offer)
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in sent.items() if value is not None]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(PATIENCE):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split()[1])
        answer = {}
        for line in head.split("\r\n")[1:-2]:
            name, _, value = line.partition(":")
            answer[name.lower()] = value.strip()
        if status != 101:
            body = await reader.readexactly(int(answer.get("content-length", 0)))
            writer.close()
            raise Refused(status, answer, body)
        return cls(reader, writer, answer)

    def send_raw(self, data):
        self.writer.write(data)

    def send_frame(self, opcode, payload=b"", **kwargs):
        self.send_raw(frame(opcode, payload, **kwargs))

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    def send_binary(self, data):
        self.send_frame(BINARY, data)

    async def recv(self, seconds=PATIENCE):
        """(opcode, payload) of the next frame; raises IncompleteReadError at the end."""
        async with asyncio.timeout(seconds):
            first, size = await self.reader.readexactly(2)
            assert first & 0x80
            assert not size & 0x80
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def recv_close(self, seconds=PATIENCE):
        """The code of the server's close frame (None: none in it), skipping messages before it."""
        while True:
            opcode, payload = await self.recv(seconds)
            if opcode == CLOSE:
                self.close_reason = payload[2:].decode()
                return int.from_bytes(payload[:2], "big") if payload else None

    async def eof(self, seconds=PATIENCE):
        """Whether the server ends the connection."""
        async with asyncio.timeout(seconds):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True

    def close(self):
        self.writer.close()

    def abort(self):
        self.writer.transport.abort()


@dataclass
class PhoenixClient:
    """V2 over a RawWebSocket: messages that are no answer to a push wait in `messages`."""

    socket: RawWebSocket
    messages: list = field(default_factory=list)
    refs: int = 0
    join_refs: dict = field(default_factory=dict)

    @classmethod
    async def connect(cls, base, query="", headers=None, sock=None):
        url = f"{base}/socket/websocket?vsn=2.0.0{'&' + query if query else ''}"
        return cls(await RawWebSocket.connect(url, headers, sock=sock))

    def ref(self):
        self.refs += 1
        return str(self.refs)

    def say(self, *message):
        self.socket.send_text(json.dumps(list(message)))

    async def next(self, seconds=PATIENCE):
        """The next message, as the five elements."""
        if self.messages:
            return self.messages.pop(0)
        return await self._receive(seconds)

    async def _receive(self, seconds=PATIENCE):
        opcode, payload = await self.socket.recv(seconds)
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    async def answer(self, ref):
        """(status, response) of the reply to `ref`; what comes before it is kept."""
        for index, message in enumerate(self.messages):
            if message[3] == "phx_reply" and message[1] == ref:
                del self.messages[index]
                return message[4]["status"], message[4]["response"]
        while True:
            message = await self._receive()
            if message[3] == "phx_reply" and message[1] == ref:
                return message[4]["status"], message[4]["response"]
            self.messages.append(message)

    async def event(self, event, seconds=PATIENCE):
        """The next message with this event; what comes before it is dropped."""
        while True:
            message = await self.next(seconds)
            if message[3] == event:
                return message

    async def join(self, topic, payload=None):
        ref = self.ref()
        self.join_refs[topic] = ref
        self.say(ref, ref, topic, "phx_join", payload or {})
        return await self.answer(ref)

    def cast(self, topic, event, payload=None):
        ref = self.ref()
        self.say(self.join_refs.get(topic), ref, topic, event, {} if payload is None else payload)
        return ref

    async def push(self, topic, event, payload=None):
        return await self.answer(self.cast(topic, event, payload))

    async def silent(self, topic="phoenix"):
        """Fail if anything is waiting: a heartbeat's answer must be the next message."""
        ref = self.ref()
        self.say(None, ref, "phoenix", "heartbeat", {})
        assert await self.next() == [None, ref, "phoenix", "phx_reply", {"status": "ok", "response": {}}]

    def close(self):
        self.socket.close()
