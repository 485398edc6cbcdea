"""The clients of a soak test: fast, slow, hostile and short-lived ones. One call runs one client.

The connections and joins that succeeded for certain are counted, to be compared with the server's counts.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from harness.mutate import Mutator
from harness.websocket import HungUp, WebSocket, encode, frame, upgrade

SHARED = [f"presence:shared-{number}" for number in range(8)]
"""Topics that all clients and the observer share."""
BUSY = "room:busy"
QUIET = "room:calm"
"""A topic for clients that are too slow for the busy room, but must not be closed."""
FAST_MESSAGES = 5
FLOOD_MESSAGES = 150
FLOOD_BYTES = 3_000
ANSWER_SECONDS = 60.0


@dataclass
class Crowd:
    """The clients that connect and disconnect during a soak test.

    Attributes:
        port: the gateway's HTTP port.
        zeromq: the gateway's port for ZeroMQ clients.
        mutate: makes messages malformed.
        connections: the connections that were certainly accepted.
        unknown: the connections that may or may not have been accepted.
        joins: the joins that were certainly answered.
        unknown_joins: whether there were other joins.
        problems: what went wrong for well-behaved clients.
        lives: the number of finished clients, by kind.
        started: the number of started clients.
    """

    port: int
    zeromq: int
    mutate: Mutator
    connections: int = 0
    unknown: int = 0
    joins: int = 0
    unknown_joins: bool = False
    problems: list[str] = field(default_factory=list)
    lives: dict[str, int] = field(default_factory=dict)
    started: int = 0
    context: zmq.asyncio.Context = field(default_factory=zmq.asyncio.Context)

    @property
    def rng(self) -> random.Random:
        """The source of randomness."""
        return self.mutate.rng

    async def connect(self, query: str = "vsn=2.0.0", receive_bytes: int | None = None) -> WebSocket:
        """Connect, and count the connection."""
        client = await WebSocket.connect(self.port, query, receive_bytes)
        self.connections += 1
        return client

    async def join(self, client: WebSocket, topic: str) -> None:
        """Join, and count the join."""
        await client.join(topic)
        self.joins += 1


async def run_client(crowd: Crowd, kind: str) -> None:
    """Run one client from its connection to its end."""
    crowd.started += 1
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await KINDS[kind](crowd)
    except (HungUp, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        if kind not in HOSTILE:
            crowd.problems.append(f"{kind}: {type(error).__name__} {error}")
    crowd.lives[kind] = crowd.lives.get(kind, 0) + 1


async def presence(crowd: Crowd) -> None:
    """Join a shared topic and a private one, be tracked on both, and leave or just disconnect."""
    name = f"u{crowd.started}"
    client = await crowd.connect(f"vsn=2.0.0&user_id={name}")
    topics = [crowd.rng.choice(SHARED), f"presence:own-{name}"]
    refs = {client.send(topic, "phx_join", {}) for topic in topics}
    states = 0
    while refs or states < len(topics):
        _, ref, topic, event, payload = await client.receive()
        if event == "phx_reply":
            if payload["status"] != "ok":
                raise HungUp(f"{topic}: {payload}")
            refs.discard(ref)
            crowd.joins += 1
        elif event == "presence_state":
            if name not in payload:
                raise HungUp(f"{name} is not on {topic}")
            states += 1
    await _leave_and_disconnect(crowd, client, topics)


async def _leave_and_disconnect(crowd: Crowd, client: WebSocket, topics: list[str]) -> None:
    """Leave or not, then close the connection with or without a close frame."""
    choice = crowd.rng.random()
    if choice < 0.5:
        for ref in [client.send(topic, "phx_leave", {}) for topic in topics]:
            await client.reply(ref)
    if choice < 0.25 or choice > 0.75:
        client.hang_up(reset=crowd.rng.random() < 0.3)
    else:
        await client.close()


async def fast(crowd: Crowd) -> None:
    """Push in the busy room, get every reply, and receive every own broadcast."""
    name = f"fast-{crowd.started}"
    client = await crowd.connect()
    await crowd.join(client, BUSY)
    refs = []
    for number in range(FAST_MESSAGES):
        refs.append(client.send(BUSY, "echo", {"n": number}))
        client.send(BUSY, "new_msg", {"from": name, "n": number})
    received = 0
    while refs or received < FAST_MESSAGES:
        _, ref, _, event, payload = await client.receive()
        if event == "phx_reply" and refs[:1] == [ref]:
            del refs[0]
        elif event == "new_msg" and payload.get("from") == name:
            if payload["n"] != received:
                raise HungUp(f"heard {payload}, wanted {received}")
            received += 1
    await _leave_and_disconnect(crowd, client, [BUSY])


async def slow(crowd: Crowd) -> None:
    """Read a message at intervals, while others flood the room."""
    client = await crowd.connect(receive_bytes=4_096)
    await crowd.join(client, BUSY)
    for _ in range(10):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.1)
        await asyncio.sleep(0.05)
    client.hang_up()


async def never_reads(crowd: Crowd) -> None:
    """Join the busy room and never read."""
    client = await crowd.connect(receive_bytes=2_048)
    await crowd.join(client, BUSY)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(1.0 + crowd.rng.random())
    client.hang_up(reset=crowd.rng.random() < 0.5)


async def floods(crowd: Crowd) -> None:
    """Broadcast as fast as possible, and read only at the end."""
    client = await crowd.connect()
    await crowd.join(client, BUSY)
    for number in range(FLOOD_MESSAGES):
        client.send(BUSY, "new_msg", {"flood": number, "text": "x" * FLOOD_BYTES})
        await client.writer.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while True:
                await client.receive()
    client.hang_up()


async def garbage(crowd: Crowd) -> None:
    """Send malformed messages, and then malformed frames."""
    crowd.unknown_joins = True
    client = await crowd.connect()
    for _ in range(crowd.rng.randrange(1, 10)):
        message = crowd.mutate.odd(["1", "1", BUSY, "phx_join", {"a": [1, {}]}])
        client.writer.write(frame(encode(message)))
    client.writer.write(crowd.mutate(frame(crowd.mutate(b'["1","2","room:busy","new_msg",{"a":1}]'))))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            while True:
                await client.receive()
    client.hang_up()


async def hangs_up(crowd: Crowd) -> None:
    """Disconnect before the server can answer, or before the request is complete."""
    crowd.unknown += 1
    reader, writer = await asyncio.open_connection("127.0.0.1", crowd.port)
    request = upgrade(f"vsn=2.0.0&user_id=gone{crowd.started}")
    writer.write(request[: crowd.rng.choice((0, 10, len(request), len(request)))])
    if crowd.rng.random() < 0.5:
        await asyncio.sleep(0)
    writer.transport.abort()
    del reader


async def longpoll(crowd: Crowd) -> None:
    """Begin a long-poll session, join, poll until the reply arrives, and never poll again."""
    opened = await _request(crowd, "GET", "")
    token = opened["token"]
    crowd.connections += 1
    body = encode(("1", "1", QUIET, "phx_join", {}))
    posted = await _request(crowd, "POST", f"&token={token}", body)
    if posted["status"] != 200:
        raise HungUp(f"long-poll: {posted}")
    polled: dict[str, Any] = {"messages": []}
    while not any("phx_reply" in message for message in polled["messages"]):
        polled = await _request(crowd, "GET", f"&token={token}")
        if polled["status"] not in (200, 204):
            raise HungUp(f"long-poll: {polled}")
    crowd.joins += 1


async def _request(crowd: Crowd, method: str, query: str, body: bytes = b"") -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", crowd.port, limit=10_000_000)
    try:
        head = f"{method} /socket/longpoll?vsn=2.0.0{query} HTTP/1.1\r\nHost: localhost\r\n"
        writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
    finally:
        writer.transport.abort()
    return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])


async def over_zeromq(crowd: Crowd) -> None:
    """Connect over ZeroMQ, join, get the reply, and close the connection or just disappear."""
    dealer = crowd.context.socket(zmq.DEALER)
    dealer.linger = 100
    dealer.connect(f"tcp://127.0.0.1:{crowd.zeromq}")
    try:
        await dealer.send_multipart([b"O", encode({"path": "/socket", "params": {"vsn": "2.0.0"}})])
        await _receive(dealer, b"O", b"")
        crowd.connections += 1
        await dealer.send_multipart([b"T", encode(("1", "1", BUSY, "phx_join", {}))])
        await _receive(dealer, b"T", b"phx_reply")
        crowd.joins += 1
        if crowd.rng.random() < 0.5:
            await dealer.send_multipart([b"C", b""])
    finally:
        dealer.close()


async def _receive(dealer: zmq.asyncio.Socket, kind: bytes, part: bytes) -> None:
    while True:
        frames = await dealer.recv_multipart()
        if frames[0] == kind and part in frames[1]:
            return
        if frames[0] in (b"R", b"C"):
            raise HungUp(repr(frames))


KINDS: dict[str, Callable[[Crowd], Awaitable[None]]] = {
    "presence": presence,
    "fast": fast,
    "slow": slow,
    "never_reads": never_reads,
    "floods": floods,
    "garbage": garbage,
    "hangs_up": hangs_up,
    "longpoll": longpoll,
    "zeromq": over_zeromq,
}
"""Every kind of client."""
HOSTILE = frozenset({"slow", "never_reads", "floods", "garbage", "hangs_up"})
"""The kinds of clients that the server may close."""
WEIGHTS = {"presence": 60, "hangs_up": 12, "garbage": 10, "fast": 6, "zeromq": 4, "longpoll": 3}
"""The weights of the kinds of clients; other kinds are rare."""
