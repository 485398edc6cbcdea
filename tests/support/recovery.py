"""Publishers on three nodes, and phoenix.js clients that recover, for tests/cluster/test_history.py."""

import asyncio
import contextlib
import itertools
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

import mesh
from mesh.client import Client, ClientError
from mesh.errors import UnreachableError
from tests.support.until import PATIENCE

SCRIPT = Path(__file__).parents[1] / "clients" / "phoenix_js" / "recover.mjs"
APP = "tests.support.recovery_app:endpoint"
KEY = "recover-recover-recover"
SECONDS = 60.0
"""How long the clients wait for what has been published; then the test shows what is missing."""


class Publishers:
    """Numbers from 1 for each topic, by a channel, the HTTP API and a program on the bus.

    Attributes:
        sent: for each topic and publisher, which numbers were published: true if that was confirmed.
    """

    def __init__(self, running, topics, rate=200.0):
        self.sent = {topic: {} for topic in topics}
        self._running = running
        self._pause = 3 * len(topics) / rate
        self._stopping = False
        self._tasks = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self):
        urls = self._running.urls
        proxies = [each["address"] for each in self._running.status["proxies"]]
        pubsub = await self._stack.enter_async_context(mesh.connect(*proxies, timeout_seconds=30.0))
        quick = (0.05, 0.1, 0.2)
        client = Client(
            urls[0].replace("http", "ws", 1) + "/socket", reconnect_seconds=quick, rejoin_seconds=quick
        )
        await self._stack.enter_async_context(client)
        for topic in self.sent:
            room = await client.join(topic, max_queued=10)
            room.on("n", lambda _: None)
            ways = {
                "channel": lambda n, room=room: self._push(room, n),
                "api": lambda n, topic=topic: self._post(urls[1], topic, n),
                "bus": lambda n, topic=topic: pubsub.broadcast(topic, "n", {"from": "bus", "n": n}),
            }
            for name, way in ways.items():
                confirmed = self.sent[topic][name] = {}
                self._tasks.append(asyncio.create_task(self._publish(confirmed, way)))
        return self

    async def __aexit__(self, *exception):
        await self.stop()
        await self._stack.aclose()

    async def stop(self):
        """Once it returns, nothing more is published."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def sends(self, count):
        """Return once each has published this many more messages on each topic."""
        ways = [(each, len(each) + count) for topic in self.sent.values() for each in topic.values()]
        async with asyncio.timeout(PATIENCE):
            while any(len(way) < least for way, least in ways):
                await asyncio.sleep(0.02)

    async def _publish(self, confirmed, way):
        number = 0
        while not self._stopping:
            number += 1
            confirmed[number] = False
            try:
                await way(number)
                confirmed[number] = True
            except (ClientError, UnreachableError, OSError, HTTPException):
                pass  # it may have been published, or not
            await asyncio.sleep(self._pause)

    async def _push(self, room, number):
        await room.push("say", {"from": "channel", "n": number}, timeout_seconds=3.0)

    async def _post(self, url, topic, number):
        message = {"topic": topic, "event": "n", "payload": {"from": "api", "n": number}}
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/api/broadcast", json.dumps(message).encode(), headers)

        def post():
            with urllib.request.urlopen(request, timeout=10.0) as response:
                assert response.status == 200

        await asyncio.to_thread(post)


class Readers:
    """A process of phoenix.js clients, one at each gateway; see recover.mjs."""

    def __init__(self, urls, topics, package="phoenix"):
        self._command = ["node", str(SCRIPT), package, *urls, *topics]

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=2**26
        )
        try:
            assert await self._answer() == "joined"
        except BaseException:
            self._process.kill()
            raise
        return self

    async def __aexit__(self, *exception):
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def signal(self, number):
        """Stop the process for a while, or let it go on."""
        self._process.send_signal(number)

    async def tell(self, **command):
        """Give a command, and return the answer."""
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self._answer()

    async def _answer(self):
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self._process.stdout.readline())

    async def end(self, publishers):
        """Wait until each has everything, and return what each was told: [{"cuts": …, "rooms": …}]."""
        await publishers.stop()
        wanted = {
            topic: {name: last(confirmed) for name, confirmed in sent.items()}
            for topic, sent in publishers.sent.items()
        }
        return await self.tell(end=wanted, seconds=SECONDS)


def last(confirmed):
    """The last number that was confirmed."""
    return max(number for number, sure in confirmed.items() if sure)


def check_exactly_once(told, publishers):
    """Each client has each kept broadcast once, in one order for all, and always recovered."""
    for client in told:
        for topic, room in client["rooms"].items():
            where = f"{topic}, {client['cuts']} cuts"
            states = room["states"]
            assert all(state["recovered"] for state in states), (where, states)
            assert room["gaps"] == 0, where
            check_contiguous(room["positions"], where)
            for name, confirmed in publishers.sent[topic].items():
                numbers = [number for source, number in room["received"] if source == name]
                check_numbers(numbers, confirmed, f"{where}, by {name}")
    for topic in publishers.sent:
        ends = {tuple(client["rooms"][topic]["positions"][-1]) for client in told}
        assert len(ends) == 1, (topic, ends)


def check_told_of_losses(told, publishers):
    """As `check_exactly_once`, but a client may have been told that it does not have everything.

    A worker that wakes up may record what it has not heard later than what came after it.
    """
    for client in told:
        for topic, room in client["rooms"].items():
            false = [state for state in room["states"] if not state["recovered"]]
            assert len(false) == room["gaps"], (topic, false)
            epochs = list(dict.fromkeys(epoch for epoch, _ in room["positions"]))
            for epoch in epochs:
                check_contiguous([each for each in room["positions"] if each[0] == epoch], topic)
            if len(epochs) == 1:
                for name, confirmed in publishers.sent[topic].items():
                    numbers = [number for source, number in room["received"] if source == name]
                    check_numbers(sorted(numbers), confirmed, f"{topic}, by {name}")
            else:
                assert false, (topic, epochs)


def check_contiguous(positions, where):
    """One epoch, and the offsets rise by one."""
    (epoch, first), *_ = positions
    wanted = [[epoch, first + number] for number in range(len(positions))]
    wrong = [pair for pair in zip(positions, wanted, strict=True) if pair[0] != pair[1]]
    assert not wrong, (where, len(wrong), wrong[:3])


def check_numbers(numbers, confirmed, where):
    """All that were confirmed from the first on are there, once, in order."""
    assert numbers, where
    doubled = [number for number in set(numbers) if numbers.count(number) > 1]
    assert not doubled, (where, "doubled", sorted(doubled)[:10])
    certain = [number for number in numbers if confirmed[number]]  # others may come at any time
    disorder = [pair for pair in itertools.pairwise(certain) if pair[0] > pair[1]]
    assert not disorder, (where, "out of order", disorder[:10])
    first = min(numbers)
    lost = [each for each, sure in confirmed.items() if sure and each >= first and each not in set(numbers)]
    assert not lost, (where, "lost", lost[:10], len(lost))
