"""A minimal long-poll client: one persistent HTTP connection for polls, and one for posts."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

NEW_SESSION = 410
EVENTS_LIMIT = 2**24


class Session:
    """One session of the mount /socket at `host`."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._token = ""
        self._polls = _Http(host)
        self._posts = _Http(host)
        self._ref = 0
        self._following: asyncio.Task[None] | None = None

    async def join(self, topic: str) -> None:
        """Open the session and join. Raises RuntimeError if either is refused."""
        opened = await self._polls.request("GET", self._path())
        if opened.get("status") != NEW_SESSION:
            raise RuntimeError(f"no long-poll session: {opened}")
        self._token = opened["token"]
        await self.push(topic, "phx_join", {})
        while not (messages := await self._poll()):
            pass
        if messages[0][4].get("status") != "ok":
            raise RuntimeError(f"join refused: {messages[0]}")

    async def push(self, topic: str, event: str, payload: Any) -> None:
        """Post one message. Raises RuntimeError if it is refused."""
        self._ref += 1
        body = json.dumps(["1", str(self._ref), topic, event, payload])
        answer = await self._posts.request("POST", self._path(), body.encode())
        if answer.get("status") != 200:
            raise RuntimeError(f"long-poll push refused: {answer}")

    def follow(self, event: str, callback: Callable[[Any], None]) -> None:
        """Start polling, and call back with the payload of each event of this name."""
        self._following = asyncio.create_task(self._follow(event, callback))

    async def aclose(self) -> None:
        """Stop polling."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        self._polls.close()
        self._posts.close()

    async def _follow(self, event: str, callback: Callable[[Any], None]) -> None:
        while True:
            for message in await self._poll():
                if message[3] == event:
                    callback(message[4])

    async def _poll(self) -> list[Any]:
        answer = await self._polls.request("GET", self._path())
        return [json.loads(each) for each in answer.get("messages", ())]

    def _path(self) -> str:
        token = f"&token={quote(self._token)}" if self._token else ""
        return f"/socket/longpoll?vsn=2.0.0{token}"


class _Http:
    """One persistent connection: one request at a time, answered with JSON."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        if self._streams is None:
            name, _, port = self._host.rpartition(":")
            self._streams = await asyncio.open_connection(name, int(port), limit=EVENTS_LIMIT)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Content-Type: application/x-ndjson\r\n\r\n" + body)
        answered = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(answered.partition("content-length:")[2].split("\r\n")[0])
        answer: dict[str, Any] = json.loads(await reader.readexactly(length))
        return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
