"""Two proxies: each may die, freeze and come back, and nobody misses, doubles or misorders a broadcast."""

import asyncio
import signal

import pytest

import mesh
from tests.support.processes import cluster
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, run

APP = "examples.conformance:endpoint"
TOPICS = [f"room:{number}" for number in range(12)]
AHEAD = 300
"""A writer waits when readers are this many messages behind: they may never catch up on a busy machine."""


class Load:
    """A program that publishes numbers to every topic, and a client at each gateway that reads them."""

    def __init__(self, running):
        self.running = running
        self.published = dict.fromkeys(TOPICS, 0)
        self.got = []
        self.ended = False

    async def __aenter__(self):
        addresses = [each["address"] for each in self.running.status["proxies"]]
        self.pubsub = await mesh.connect(*addresses, timeout_seconds=PATIENCE).__aenter__()
        self.readers = []
        for url in self.running.urls:
            client = await PhoenixClient.connect(url)
            for topic in TOPICS:
                assert (await client.join(topic))[0] == "ok"
            got = {topic: [] for topic in TOPICS}
            self.got.append(got)
            self.readers.append(asyncio.create_task(self._read(client, got)))
        self.writers = [asyncio.create_task(self._write(topic)) for topic in TOPICS]
        return self

    async def __aexit__(self, *exception):
        self.ended = True
        try:
            await asyncio.gather(*self.writers)
            if exception[0] is None:
                await until(self._all_read)
        finally:
            for reader in self.readers:
                reader.cancel()
            await self.pubsub.__aexit__(None, None, None)
        for got in self.got:
            for topic in TOPICS:
                assert got[topic] == list(range(1, self.published[topic] + 1)), topic

    def _all_read(self):
        return all(len(got[topic]) >= self.published[topic] for got in self.got for topic in TOPICS)

    async def _write(self, topic):
        while not self.ended:
            self.published[topic] += 1
            await self.pubsub.broadcast(topic, "n", {"n": self.published[topic]})

    async def _read(self, client, got):
        while True:
            _, _, topic, event, payload = await client.next()
            assert event == "n", (topic, event, payload)
            got[topic].append(payload["n"])

    async def more(self, count=30):
        """Wait until every topic has that many more broadcasts."""
        goal = {topic: self.published[topic] + count for topic in TOPICS}
        await until(lambda: all(self.published[topic] >= goal[topic] for topic in TOPICS))


@pytest.fixture
def running(clusters):
    return clusters.two_proxies()


def test_a_proxy_that_is_killed_costs_nothing(running):
    async def scenario():
        async with Load(running) as load:
            for index in (0, 1):
                await load.more()
                old = running.kill("proxy", index)
                await load.more()
                await asyncio.to_thread(running.wait_restarted, "proxy", index, old)
                publisher = load.pubsub._bus.publisher
                await until(lambda publisher=publisher: len(publisher.in_use) == 2)
                await load.more()

    run(scenario())


def test_a_frozen_proxy_delays_and_costs_nothing(running):
    async def scenario():
        async with Load(running) as load:
            publisher = load.pubsub._bus.publisher
            await load.more()
            running.kill("proxy", 0, signal.SIGSTOP)
            try:
                await until(lambda: len(publisher.in_use) == 1)
                await load.more()
            finally:
                running.kill("proxy", 0, signal.SIGCONT)
            await until(lambda: len(publisher.in_use) == 2)
            await load.more()

    run(scenario())


def test_a_proxy_that_freezes_while_the_other_comes_back_costs_no_order(running):
    """Topics move to the one that is back while what was sent before is stuck in the other."""

    async def scenario():
        writer, reader = [await PhoenixClient.connect(url) for url in running.urls]
        for topic in TOPICS:
            for client in (writer, reader):
                assert (await client.join(topic))[0] == "ok"
        got = {topic: [] for topic in TOPICS}
        sent = 0

        def keeps_up():
            return sent - min(map(len, got.values())) < AHEAD

        async def write():
            nonlocal sent
            while True:
                sent += 1
                for topic in TOPICS:
                    writer.cast(topic, "new_msg", {"n": sent})
                await asyncio.sleep(0.01)  # the pace
                await until(keeps_up)

        async def read():
            while True:
                _, _, topic, _, payload = await reader.event("new_msg")
                got[topic].append(payload["n"])

        async def hear_oneself():
            while True:
                await writer.next()

        async def more():
            goal = sent + 30
            await until(lambda: all(numbers[-1:] > [goal] for numbers in got.values()))

        tasks = [asyncio.create_task(each()) for each in (write, read, hear_oneself)]
        await more()
        old = running.kill("proxy", 0)
        await asyncio.to_thread(running.wait_restarted, "proxy", 0, old)
        running.kill("proxy", 1, signal.SIGSTOP)
        try:
            await more()
        finally:
            running.kill("proxy", 1, signal.SIGCONT)
        await more()
        for task in tasks:
            task.cancel()
        for numbers in got.values():
            assert numbers == list(range(1, len(numbers) + 1))

    run(scenario())


def test_the_only_proxy_may_be_killed_too(tmp_path):
    with cluster(tmp_path, APP, proxies=1) as alone:

        async def scenario():
            async with Load(alone) as load:
                for _ in range(2):
                    await load.more()
                    old = alone.kill("proxy")
                    await asyncio.to_thread(alone.wait_restarted, "proxy", 0, old)
                    await load.more()

        run(scenario())


def test_topics_are_spread_over_both_proxies(running):
    async def scenario():
        async with Load(running) as load:
            publisher = load.pubsub._bus.publisher
            await until(lambda: len(publisher.in_use) == 2)
            assert len({publisher.proxy_of(topic) for topic in TOPICS}) == 2
            await load.more()

    run(scenario())


def test_joins_work_while_a_proxy_is_away(running):
    async def scenario():
        clients = [await PhoenixClient.connect(url) for url in running.urls]
        old = running.kill("proxy", 1)
        for number in range(20):
            for client in clients:
                assert (await client.join(f"room:away-{number}"))[0] == "ok"
            clients[0].cast(f"room:away-{number}", "new_msg", {"n": number})
            assert (await clients[1].event("new_msg"))[4] == {"n": number}
        await asyncio.to_thread(running.wait_restarted, "proxy", 1, old)

    run(scenario())
