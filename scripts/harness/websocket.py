"""A low-level WebSocket client: cheap enough to run a hundred thousand of them, and able to misbehave."""

import asyncio
import itertools
import socket
import struct
from typing import Any, Self

import msgspec

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
NO_MASK = bytes(4)
TEXT, BINARY, CLOSE = 1, 2, 8

encode = msgspec.json.encode
_decode = msgspec.json.decode


def upgrade(query: str = "vsn=2.0.0") -> bytes:
    """Return the upgrade request."""
    return (
        f"GET /socket/websocket?{query} HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a client's frame, final and masked with zeros."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + NO_MASK + payload


class HungUp(Exception):  # noqa: N818
    """The server has closed the connection, or has refused this client."""


class WebSocket:
    """One connection, V2 JSON."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._refs = itertools.count(1)

    @classmethod
    async def connect(cls, port: int, query: str = "vsn=2.0.0", receive_bytes: int | None = None) -> Self:
        """Connect and upgrade; `receive_bytes` limits the kernel's receive buffer of this client.

        Raises:
            HungUp: if the server refuses.
        """
        sock = socket.socket()
        sock.setblocking(False)
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=receive_bytes or 65_536)
        except BaseException:
            sock.close()
            raise
        client = cls(reader, writer)
        writer.write(upgrade(query))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            client.hang_up()
            raise HungUp from None
        if not head.startswith(b"HTTP/1.1 101"):
            client.hang_up()
            raise HungUp(head.partition(b"\r\n")[0].decode())
        return client

    def send(self, topic: str, event: str, payload: Any, join_ref: str | None = "1") -> str:
        """Send a message; return its ref."""
        ref = str(next(self._refs))
        self.writer.write(frame(encode((join_ref, ref, topic, event, payload))))
        return ref

    async def receive(self) -> list[Any]:
        """Return the next JSON message. Raises HungUp when the server closes the connection."""
        try:
            while True:
                first, length = await self._reader.readexactly(2)
                if length == 126:
                    length = int.from_bytes(await self._reader.readexactly(2), "big")
                elif length == 127:
                    length = int.from_bytes(await self._reader.readexactly(8), "big")
                payload = await self._reader.readexactly(length)
                if first & 0xF == CLOSE:
                    raise HungUp(f"close frame {payload[:2].hex()}")
                if first & 0xF == TEXT:
                    message: list[Any] = _decode(payload)
                    return message
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise HungUp(str(error)) from None

    async def reply(self, ref: str) -> Any:
        """Return the reply to a message; messages before it are discarded."""
        while True:
            _, answered, _, event, payload = await self.receive()
            if event == "phx_reply" and answered == ref:
                return payload

    async def join(self, topic: str, payload: Any = None) -> None:
        """Join. Raises HungUp if the join is refused."""
        answer = await self.reply(self.send(topic, "phx_join", payload or {}))
        if answer["status"] != "ok":
            raise HungUp(f"{topic}: {answer}")

    def hang_up(self, reset: bool = False) -> None:
        """Close the connection without a close frame, or abort it with a TCP reset."""
        if reset:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Send a close frame, and wait until the server closes the connection."""
        self.writer.write(frame(b"\x03\xe8", CLOSE))
        try:
            while True:
                await self.receive()
        except HungUp:
            self.hang_up()
