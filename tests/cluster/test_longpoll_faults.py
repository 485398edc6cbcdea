"""Long-poll at gateways in turn, while what is between the gateways dies or freezes."""

import asyncio
import json
import os
import signal

import pytest

import mesh
from tests.support.longpoll import LongPoll
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, run

TOPIC = "room:stream"


@pytest.fixture
def running(clusters):
    return clusters.two_proxies()


class Stream:
    """Numbered broadcasts of a program, and numbered pushes of one long-poll client, each acknowledged.

    The client polls and posts at all gateways in turn; others count what its pushes became.
    """

    def __init__(self, running, clients=3):
        self.running = running
        self.clients = clients
        self.published = 0
        self.pushed = 0
        self.ended = False

    async def __aenter__(self):
        addresses = [each["address"] for each in self.running.status["proxies"]]
        self.pubsub = await mesh.connect(*addresses, timeout_seconds=PATIENCE).__aenter__()
        self.watcher = await PhoenixClient.connect(self.running.urls[0])
        assert (await self.watcher.join(TOPIC))[0] == "ok"
        self.sessions = []
        for number in range(self.clients):
            bases = self.running.urls[number % 2 :] + self.running.urls[: number % 2]
            session = await LongPoll(bases).open()
            joined = json.dumps(["1", "1", TOPIC, "phx_join", {}])
            assert await session.post(joined) == {"status": 200}
            assert (await session.poll())[1][0][4]["status"] == "ok"
            self.sessions.append(session)
        self.got = [[] for _ in self.sessions]
        self.said = [[] for _ in self.sessions]
        self.watched = []
        tasks = [self._publish(), self._push(), self._watch()]
        tasks += [self._poll(index) for index in range(self.clients)]
        self.publishing, self.pushing, *self.readers = [asyncio.create_task(each) for each in tasks]
        return self

    async def __aexit__(self, *exception):
        self.ended = True
        try:
            await asyncio.gather(self.publishing, self.pushing)
            if exception[0] is None:
                await until(self._all_read)
        finally:
            for reader in self.readers:
                reader.cancel()
            await self.pubsub.__aexit__(None, None, None)
        for got in self.got:
            assert got == list(range(1, self.published + 1))
        for said in (*self.said, self.watched):
            assert said == list(range(1, self.pushed + 1))

    def _all_read(self):
        self._check()
        read = all(len(got) >= self.published for got in self.got)
        return read and all(len(said) >= self.pushed for said in (*self.said, self.watched))

    def _check(self):
        for task in (self.publishing, self.pushing, *self.readers):
            if task.done() and task.exception() is not None:
                raise task.exception()

    async def _publish(self):
        while not self.ended:
            self.published += 1
            await self.pubsub.broadcast(TOPIC, "n", {"n": self.published})
            await asyncio.sleep(0.01)  # the pace

    async def _push(self):
        session = self.sessions[0]
        while not self.ended:
            self.pushed += 1
            push = json.dumps(["1", str(self.pushed), TOPIC, "new_msg", {"n": self.pushed}])
            assert await session.post(push) == {"status": 200}, "a session ended"
            await asyncio.sleep(0.01)  # the pace

    async def _poll(self, index):
        session = self.sessions[index]
        while True:
            status, messages = await session.poll()
            assert status in (200, 204), "a session ended"
            for _, _, _, event, payload in messages:
                if event in ("n", "new_msg"):
                    (self.got if event == "n" else self.said)[index].append(payload["n"])

    async def _watch(self):
        while True:
            _, _, _, event, payload = await self.watcher.next()
            if event == "new_msg":
                self.watched.append(payload["n"])

    async def more(self, count=20):
        """Wait until every client has received that many more of both."""
        self._check()
        read = [*self.got, *self.said, self.watched]
        goals = [len(each) + count for each in read]

        def all_had():
            self._check()
            return all(len(each) >= goal for each, goal in zip(read, goals, strict=True))

        await until(all_had)


@pytest.mark.parametrize("index", [0, 1])
def test_a_killed_proxy_ends_no_session_and_costs_and_doubles_nothing(running, index):
    async def scenario():
        async with Stream(running) as stream:
            await stream.more()
            old = running.kill("proxy", index)
            await stream.more()
            await asyncio.to_thread(running.wait_restarted, "proxy", index, old)
            publisher = stream.pubsub._bus.publisher
            await until(lambda: len(publisher.in_use) == 2)
            await stream.more()

    run(scenario())


@pytest.mark.parametrize("index", [0, 1])
def test_a_frozen_proxy_ends_no_session_and_costs_and_doubles_nothing(running, index):
    async def scenario():
        async with Stream(running) as stream:
            publisher = stream.pubsub._bus.publisher
            await stream.more()
            running.kill("proxy", index, signal.SIGSTOP)
            try:
                await stream.more()
            finally:
                running.kill("proxy", index, signal.SIGCONT)
            await until(lambda: len(publisher.in_use) == 2)
            await stream.more()

    run(scenario())


def test_all_proxies_killed_at_once_end_no_session_and_cost_and_double_nothing(running):
    async def scenario():
        async with Stream(running) as stream:
            await stream.more()
            old = [running.kill("proxy", index) for index in (0, 1)]
            for index in (0, 1):
                await asyncio.to_thread(running.wait_restarted, "proxy", index, old[index])
            await stream.more()

    run(scenario())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_session_whose_gateway_is_gone_is_gone_well_before_the_window_is_over(running, number):
    """Requests that were under way when it went, and those that come later."""

    async def scenario():
        loop = asyncio.get_running_loop()
        session = await LongPoll([running.urls[0]]).open()
        session.bases = [running.urls[1]]
        poll = asyncio.create_task(session.get())
        await asyncio.sleep(0.2)  # most often it has been passed on by then; if not, that is a case too
        began = loop.time()
        pid = running.kill("gateways", 0, number)
        try:
            assert (await poll).json["status"] in (410, 500)
            waited = loop.time() - began
            began = loop.time()
            later = await session.post("[]")
            if number != signal.SIGTERM:
                assert waited < 25, "the window and the time for the answer are 40 s"
            assert later == {"status": 410}
            assert loop.time() - began < 15, "it is known to be gone"
        finally:
            if number == signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
        if number != signal.SIGSTOP:
            await asyncio.to_thread(running.wait_restarted, "gateways", 0, pid)

    run(scenario())
