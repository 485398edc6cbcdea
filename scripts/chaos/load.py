"""Publishers and readers, which record what happens."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import mesh
from chaos.history import History, Membership, Sent
from chaos.judging import judge
from harness.processes import Cluster
from mesh.client import Client, ClientChannel, ClientError

CONFIRM_SECONDS = 30.0
SETTLE_SECONDS = 120.0
RETRIES = (0.05, 0.1, 0.2, 0.5)


class Load:
    """All publishers and readers of a run.

    Args:
        cluster: the cluster that they connect to.
        history: where they record what happens.
        topics: the number of topics.
        rate: the messages per second of each of the two sources.
    """

    def __init__(self, cluster: Cluster, history: History, topics: int, rate: float) -> None:
        self._cluster = cluster
        self._history = history
        self._topics = [f"room:{number}" for number in range(topics)]
        self._interval_seconds = topics / rate
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Connect everything and start."""
        status = self._cluster.status()
        proxies = [each["address"] for each in status["proxies"]]
        for number, gateway in enumerate(status["gateways"]):
            reader = f"reader {number + 1}"
            self._history.gateways[reader] = number
            await self._read(reader, gateway["url"])
        pubsub = await self._stack.enter_async_context(
            mesh.connect(*proxies, timeout_seconds=CONFIRM_SECONDS)
        )
        for topic in self._topics:
            sent = self._history.sent["bus", topic] = []
            self._start(publish(pubsub.broadcast, topic, sent, self._interval_seconds, self._stopping))
        pusher = await self._client(status["gateways"][0]["url"])
        for topic in self._topics:
            room = await pusher.join(topic)
            room.on("n", lambda _: None)
            sent = self._history.sent["pushes", topic] = []
            self._start(push(room, sent, self._history, self._interval_seconds, self._stopping))

    async def end(self) -> None:
        """Stop publishing, wait until the readers have everything, and disconnect."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and any(each.count("lost") for each in judge(self._history)):
            await asyncio.sleep(0.2)
        await self._stack.aclose()

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(coroutine))

    async def _client(self, url: str) -> Client:
        address = url.replace("http", "ws", 1) + "/socket"
        client = Client(address, reconnect_seconds=RETRIES, rejoin_seconds=RETRIES, timeout_seconds=5.0)
        return await self._stack.enter_async_context(client)

    async def _read(self, reader: str, url: str) -> None:
        client = await self._client(url)
        for topic in self._topics:
            memberships = self._history.memberships[reader, topic] = []
            room = client.channel(topic)
            room.on_state(lambda state, _reason, memberships=memberships: _record_state(memberships, state))
            room.on("n", lambda payload, memberships=memberships: _record_received(memberships, payload))
            await room.join()


async def publish(
    broadcast: Callable[..., Any],
    topic: str,
    sent: list[Sent],
    interval_seconds: float,
    stopping: asyncio.Event,
) -> None:
    """Publish numbers to a topic until `stopping` is set, and record them in `sent`."""
    while not stopping.is_set():
        message = Sent(time.monotonic())
        sent.append(message)
        await broadcast(topic, "n", {"from": "bus", "n": len(sent)})
        message.confirmed = time.monotonic()
        await asyncio.sleep(interval_seconds)


async def push(
    room: ClientChannel,
    sent: list[Sent],
    history: History,
    interval_seconds: float,
    stopping: asyncio.Event,
) -> None:
    """Push numbers until `stopping` is set, and record them in `sent`.

    The number of an unacknowledged push, which may have been carried out, is not used again.
    """
    while not stopping.is_set():
        message = Sent(time.monotonic())
        sent.append(message)
        try:
            await room.push("say", {"from": "pushes", "n": len(sent)}, timeout_seconds=2.0)
            message.confirmed = time.monotonic()
        except ClientError:
            history.unacknowledged += 1
        await asyncio.sleep(interval_seconds)


def _record_state(memberships: list[Membership], state: str) -> None:
    now = time.monotonic()
    if state == "joined":
        memberships.append(Membership(now))
    elif memberships and memberships[-1].until == float("inf"):
        memberships[-1].until = now


def _record_received(memberships: list[Membership], payload: Any) -> None:
    memberships[-1].received.append((payload["from"], payload["n"], time.monotonic()))
