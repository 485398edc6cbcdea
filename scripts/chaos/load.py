"""Publishers and readers, which record what happens."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import mesh
from chaos.history import History, Membership, Sent
from chaos.judging import judge
from harness.processes import Cluster
from mesh.client import Client, ClientChannel, ClientError

CONFIRM_SECONDS = 30.0
SETTLE_SECONDS = 120.0


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
        self._stopping = False
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
            self._tasks.append(asyncio.create_task(self._publish(topic, pubsub.broadcast)))
        pusher = await self._client(status["gateways"][0]["url"])
        for topic in self._topics:
            room = await pusher.join(topic)
            room.on("n", lambda _: None)
            self._tasks.append(asyncio.create_task(self._push(topic, room)))

    async def end(self) -> None:
        """Stop publishing, wait until the readers have everything, and disconnect."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and any(each.count("lost") for each in judge(self._history)):
            await asyncio.sleep(0.2)
        await self._stack.aclose()

    async def _client(self, url: str) -> Client:
        address = url.replace("http", "ws", 1) + "/socket"
        retries = (0.05, 0.1, 0.2, 0.5)
        client = Client(address, reconnect_seconds=retries, rejoin_seconds=retries, timeout_seconds=5.0)
        return await self._stack.enter_async_context(client)

    async def _publish(self, topic: str, publish: Callable[..., Any]) -> None:
        sent = self._history.sent["bus", topic] = []
        while not self._stopping:
            message = Sent(time.monotonic())
            sent.append(message)
            await publish(topic, "n", {"from": "bus", "n": len(sent)})
            message.confirmed = time.monotonic()
            await asyncio.sleep(self._interval_seconds)

    async def _push(self, topic: str, room: ClientChannel) -> None:
        """Push numbers; that of an unacknowledged push, which may have been carried out, is not reused."""
        sent = self._history.sent["pushes", topic] = []
        while not self._stopping:
            message = Sent(time.monotonic())
            sent.append(message)
            try:
                await room.push("say", {"from": "pushes", "n": len(sent)}, timeout_seconds=2.0)
                message.confirmed = time.monotonic()
            except ClientError:
                self._history.unacknowledged += 1
            await asyncio.sleep(self._interval_seconds)

    async def _read(self, reader: str, url: str) -> None:
        client = await self._client(url)
        for topic in self._topics:
            memberships = self._history.memberships[reader, topic] = []
            room = client.channel(topic)
            room.on_state(lambda state, _reason, memberships=memberships: _record_state(memberships, state))
            room.on("n", lambda payload, memberships=memberships: _record_received(memberships, payload))
            await room.join()


def _record_state(memberships: list[Membership], state: str) -> None:
    now = time.monotonic()
    if state == "joined":
        memberships.append(Membership(now))
    elif memberships and memberships[-1].until == float("inf"):
        memberships[-1].until = now


def _record_received(memberships: list[Membership], payload: Any) -> None:
    memberships[-1].received.append((payload["from"], payload["n"], time.monotonic()))
