"""A long-poll client that speaks as phoenix.js does, or not."""

import asyncio
import json
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from tests.support.until import PATIENCE
from tests.support.websocket import PhoenixClient, open_connection


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


async def http(base, method, path, headers=None, body=b"", seconds=PATIENCE):
    parts = urlsplit(base)
    reader, writer = await open_connection(parts.hostname, parts.port)
    sent = {"Host": parts.netloc, "Connection": "close", **(headers or {})}
    if body or method == "POST":
        sent["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    answer = await read_answer(reader, seconds)
    writer.close()
    return answer


async def read_answer(reader, seconds=PATIENCE):
    async with asyncio.timeout(seconds):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = {}
        for line in head.split("\r\n")[1:-2]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        data = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head.split()[1]), headers, data)


@dataclass
class LongPoll:
    """A session; each request may go to another gateway."""

    bases: list
    query: str = "vsn=2.0.0"
    token: str | None = None
    requests: int = 0
    headers: dict = field(default_factory=dict)

    def base(self):
        self.requests += 1
        return self.bases[self.requests % len(self.bases)]

    def path(self):
        token = f"&token={quote(self.token)}" if self.token else ""
        return f"/socket/longpoll?{self.query}{token}"

    async def get(self):
        return await http(self.base(), "GET", self.path(), self.headers)

    async def post(self, body, content_type="application/x-ndjson"):
        body = body if isinstance(body, bytes) else body.encode()
        headers = {"Content-Type": content_type, **self.headers}
        return (await http(self.base(), "POST", self.path(), headers, body)).json

    async def open(self):
        answer = (await self.get()).json
        assert (answer["status"], answer["messages"]) == (410, []), answer
        self.token = answer["token"]
        return self

    async def poll(self):
        answer = (await self.get()).json
        if answer["status"] != 410:
            assert answer.get("token") == self.token
        return answer["status"], [json.loads(each) for each in answer["messages"]]

    def client(self):
        return LongPollClient(self)


class LongPollClient(PhoenixClient):
    """The same verbs as over a WebSocket, by requests."""

    def __init__(self, session):
        super().__init__(socket=None)
        self.session = session
        self.outbox = []

    @classmethod
    async def connect(cls, base, query="", headers=None):
        session = LongPoll([base], f"vsn=2.0.0{'&' + query if query else ''}", headers=headers or {})
        return cls(await session.open())

    def say(self, *message):
        self.outbox.append(json.dumps(list(message)))

    async def flush(self):
        while self.outbox:
            batch, self.outbox = self.outbox[:100], self.outbox[100:]
            assert await self.session.post("\n".join(batch)) == {"status": 200}

    async def _receive(self, seconds=PATIENCE):
        await self.flush()
        async with asyncio.timeout(seconds):
            while True:
                status, messages = await self.session.poll()
                assert status in (200, 204), status
                if messages:
                    self.messages = messages[1:] + self.messages
                    return messages[0]

    async def answer(self, ref):
        while True:
            for index, message in enumerate(self.messages):
                if message[3] == "phx_reply" and message[1] == ref:
                    del self.messages[index]
                    return message[4]["status"], message[4]["response"]
            first = await self._receive()
            self.messages.insert(0, first)

    def close(self):
        pass
