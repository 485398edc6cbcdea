"""Clients that recover what they have missed, what is done to them, and the publishers of their topics."""

import asyncio
import contextlib
import random
import time
from collections.abc import Coroutine
from typing import Any

import mesh
from chaos.history import Continuity, History, Position, Received, Sent
from chaos.load import RETRIES, publish, push
from chaos.recovery_judging import judge_recoveries
from chaos.relay import Relay
from harness.processes import Cluster
from mesh.client import Client, ClientChannel
from mesh.client import History as KeptPosition

TOPICS = 6
CLIENTS = 4
RATE = 150
"""The messages per second of each of the two sources."""
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 0.6
"""Between two disturbances of clients."""
FREEZE_SECONDS = 1.5
CONFIRM_SECONDS = 30.0
SETTLE_SECONDS = 60.0


class RecoveringLoad:
    """The clients, each behind a relay of its own, and two publishers.

    Args:
        cluster: the cluster that they connect to.
        history: where they record what happens.
        seed: decides when which client is cut, frozen or moved.
    """

    def __init__(self, cluster: Cluster, history: History, seed: int) -> None:
        self._cluster = cluster
        self._history = history
        self._rng = random.Random(seed)
        self._topics = [f"kept:{number}" for number in range(TOPICS)]
        self._relays: list[Relay] = []
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Connect everything and start."""
        status = self._cluster.status()
        for number in range(CLIENTS):
            await self._join(f"client {number + 1}", Relay(self._gateway(number)))
        pubsub = await self._stack.enter_async_context(
            mesh.connect(*(each["address"] for each in status["proxies"]), timeout_seconds=CONFIRM_SECONDS)
        )
        pusher = await self._client(status["gateways"][-1]["url"].partition("://")[2])
        for topic in self._topics:
            room = await pusher.join(topic)
            room.on("n", lambda _: None)
            sent: dict[str, list[Sent]] = {"bus": [], "pushes": []}
            for source in sent:
                self._history.kept[source, topic] = sent[source]
            interval, stopping = TOPICS / RATE, self._stopping
            self._start(publish(pubsub.broadcast, topic, sent["bus"], interval, stopping))
            self._start(push(room, sent["pushes"], self._history, interval, stopping))
        for relay in self._relays:
            self._start(self._disturb(relay))

    async def end(self) -> None:
        """Stop publishing, wait until the clients have everything, and disconnect."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and any(each.lost for each in judge_recoveries(self._history)):
            await asyncio.sleep(0.5)
        await self._stack.aclose()
        for relay in self._relays:
            relay.close()

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(coroutine))

    def _gateway(self, number: int) -> tuple[str, int]:
        gateways = self._cluster.status()["gateways"]
        host, _, port = gateways[number % len(gateways)]["url"].partition("://")[2].partition(":")
        return host, int(port)

    async def _client(self, address: str) -> Client:
        url = f"ws://{address}/socket"
        client = Client(url, reconnect_seconds=RETRIES, rejoin_seconds=RETRIES, timeout_seconds=5.0)
        return await self._stack.enter_async_context(client)

    async def _join(self, name: str, relay: Relay) -> None:
        self._relays.append(relay)
        client = await self._client(f"127.0.0.1:{await relay.start()}")
        for topic in self._topics:
            continuities = self._history.continuities[name, topic] = [Continuity(time.monotonic())]
            position = KeptPosition(on_gap=lambda _, periods=continuities: _record_gap(periods))
            room: ClientChannel = client.channel(topic, history=position, max_queued=1)
            room.on("n", lambda payload, periods=continuities, at=position: _record(periods, payload, at))
            await room.join()
            async with asyncio.timeout(SETTLE_SECONDS):
                while position.position is None:  # a client without one would begin with the newest again
                    await asyncio.sleep(0.01)
            continuities[0].since = time.monotonic()

    async def _disturb(self, relay: Relay) -> None:
        rng, gateway = self._rng, 0
        while not self._stopping.is_set():
            await asyncio.sleep(rng.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
            what = rng.choice(("cut", "freeze", "move"))
            self._history.disturbances[what] += 1
            if what == "freeze":
                relay.freeze()
                await asyncio.sleep(FREEZE_SECONDS)
                relay.thaw()
                continue
            if what == "move":
                gateway += 1
                relay.target = self._gateway(gateway)
            relay.cut()


def _record_gap(continuities: list[Continuity]) -> None:
    continuities[-1].ended = time.monotonic()
    continuities.append(Continuity(time.monotonic()))


def _record(continuities: list[Continuity], payload: Any, at: KeptPosition) -> None:
    assert at.position is not None
    received = Received(payload["from"], payload["n"], Position(*at.position), time.monotonic())
    continuities[-1].received.append(received)
