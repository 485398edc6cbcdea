"""HTTP/1.1 by hand: any bytes in, whatever comes out."""

import asyncio
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.until import PATIENCE
from tests.support.websocket import open_connection


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes


class RawHTTP:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, url):
        parts = urlsplit(url)
        return cls(*await open_connection(parts.hostname, parts.port))

    def send(self, data):
        self.writer.write(data)

    def request(self, target, method="GET", headers=(), body=b"", host="localhost"):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)

    async def answer(self, method="GET"):
        """The next response; its body as far as Content-Length says, or to the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")[:-2]
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            status = int(first.split()[1])
            if method == "HEAD" or status in (100, 101, 204, 304):
                return Answer(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return Answer(status, headers, await self._chunks())
            if "content-length" in headers:
                return Answer(
                    status, headers, await self.reader.readexactly(int(headers["content-length"]))
                )
            return Answer(status, headers, await self.reader.read())

    async def _chunks(self):
        body = b""
        while True:
            size = int(await self.reader.readline(), 16)
            body += await self.reader.readexactly(size)
            await self.reader.readline()
            if not size:
                return body

    async def ended(self):
        """Whether the server hangs up, whatever it sends before."""
        async with asyncio.timeout(PATIENCE):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass
        return True

    def close(self):
        self.writer.transport.abort()


async def ask(url, target="/", method="GET", headers=(), body=b"", host="localhost"):
    """One request on a connection of its own."""
    connection = await RawHTTP.connect(url)
    try:
        connection.request(target, method, headers, body, host)
        return await connection.answer(method)
    finally:
        connection.close()


async def say(url, data):
    """These very bytes; the first answer, and whether the connection then ends."""
    connection = await RawHTTP.connect(url)
    try:
        connection.send(data)
        return await connection.answer()
    finally:
        connection.close()
