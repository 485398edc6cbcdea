"""Workers stop, and clients of channels with snapshot and restore do not notice."""

import asyncio
import contextlib
import re
import signal

import pytest

import mesh
from mesh.client import Client
from tests.support.processes import cluster
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, run

APP = "tests.support.moving_app:endpoint"
TOPICS = [f"count:{number}" for number in range(8)]


@pytest.fixture
def running(clusters):
    return clusters(APP, MESH_WORKER__KILL_SECONDS="30")


def stop_worker(running, pid):
    """SIGTERM to the worker where a channel runs; returns its index."""
    index = [each["pid"] for each in running.status["workers"]].index(pid)
    running.kill("workers", index, signal.SIGTERM)
    return index


class Counting:
    """A client that pushes numbers to a topic, several at a time, and knows what is to come back."""

    def __init__(self, room):
        self.room, self.replies, self.states, self.ended = room, [], [], False
        room.on_state(lambda state, reason: self.states.append((state, reason)))
        room.on("restored", lambda payload: None)

    async def run(self, at_once=4):
        number = 0
        while not self.ended:
            pushes = [self.room.push("n", {"n": number + each}) for each in range(1, at_once + 1)]
            self.replies += await asyncio.gather(*pushes)
            number += at_once

    def check(self):
        assert [each["counted"] for each in self.replies] == list(range(1, len(self.replies) + 1))
        assert [each["last"] for each in self.replies] == list(range(1, len(self.replies) + 1))
        assert not any(each["wrong"] for each in self.replies)
        assert self.states == [], self.states

    @property
    def pids(self):
        return list(dict.fromkeys(each["pid"] for each in self.replies))


@contextlib.asynccontextmanager
async def counting(running, topics=TOPICS):
    """Clients under way; at the end they stop, and what came back is checked."""
    async with contextlib.AsyncExitStack() as stack:
        all_of_them = []
        for number, topic in enumerate(topics):
            url = running.urls[number % len(running.urls)].replace("http", "ws") + "/socket"
            client = await stack.enter_async_context(Client(url, timeout_seconds=PATIENCE))
            all_of_them.append(Counting(await client.join(topic, {"name": topic})))
        tasks = [asyncio.create_task(each.run()) for each in all_of_them]
        await until(lambda: all(len(each.replies) > 20 for each in all_of_them))
        yield all_of_them
        for each in all_of_them:
            each.ended = True
        await asyncio.gather(*tasks)
        for each in all_of_them:
            each.check()


def test_a_worker_that_stops_under_load_loses_doubles_and_misorders_no_push(running):
    async def scenario():
        async with counting(running) as clients:
            old = clients[0].pids[-1]
            index = stop_worker(running, old)
            there = [each for each in clients if each.pids[-1] == old]
            await until(lambda: all(each.pids[-1] != old for each in clients))
            seen = [len(each.replies) for each in clients]
            await until(lambda: all(len(e.replies) > s + 20 for e, s in zip(clients, seen, strict=True)))
        for each in clients:
            assert each.replies[-1]["moves"] == (1 if each in there else 0)
            assert each.replies[-1]["assigned"] == each.pids[0]
        await asyncio.to_thread(running.wait_restarted, "workers", index, old)

    before = len(running.log())
    run(scenario())
    assert "channel crashed" not in running.log()[before:]


def test_a_rolling_restart_of_the_workers_goes_unnoticed(tmp_path):
    with cluster(tmp_path, APP, proxies=2) as running:

        async def scenario():
            workers = [each["pid"] for each in running.status["workers"]]
            async with counting(running) as clients:
                running.process.popen.send_signal(signal.SIGHUP)

                def restarted():
                    return not {None, *workers} & {each["pid"] for each in running.status["workers"]}

                await until(restarted)
                await until(lambda: not {each.pids[-1] for each in clients} & {*workers})
                assert not re.search(r"gateway.1 +│ rolling restart", running.log()), "gateways come last"
            for each in clients:
                assert each.replies[-1]["moves"] == len(each.pids) - 1 >= 1
            await until(lambda: "rolling restart done" in running.log())

        run(scenario())


def test_with_one_worker_its_channels_wait_for_the_next(tmp_path):
    env = {"MESH_GATEWAY__WORKER_WAIT_SECONDS": "60"}
    with cluster(tmp_path, APP, gateways=1, workers=1, env=env) as running:

        async def scenario():
            async with counting(running, TOPICS[:2]) as clients:
                old = running.kill("workers", 0, signal.SIGTERM)
                await until(lambda: all(each.pids[-1] != old for each in clients))

        run(scenario())


@contextlib.asynccontextmanager
async def joined(running, *topics):
    """One raw client, joined to these topics."""
    client = await PhoenixClient.connect(running.urls[0])
    for topic in topics:
        assert (await client.join(topic, {"name": topic}))[0] == "ok"
    yield client


async def pid_of(client, topic, event="n"):
    return (await client.push(topic, event, {"n": 1}))[1]["pid"]


def test_what_cannot_move_gets_phx_error_as_before(running):
    async def scenario():
        stays = {f"stay:{number}": "where" for number in range(4)}
        counts = {f"count:{how}{number}": how for how in ("stay", "large", "raise") for number in range(4)}
        async with joined(running, *stays, *counts) as client:
            pids = {topic: await pid_of(client, topic, event) for topic, event in stays.items()}
            for topic, how in counts.items():
                await client.push(topic, "spoil", {"how": how})
                pids[topic] = await pid_of(client, topic)
            old = pids["count:large0"]
            index = stop_worker(running, old)
            for _ in [topic for topic, pid in pids.items() if pid == old]:
                message = await client.next()
                assert (message[3], pids.pop(message[2])) == ("phx_error", old)
            assert old not in pids.values()
            for topic in (*stays, *counts):
                if topic not in pids:
                    assert (await client.join(topic))[0] == "ok"
            for topic in stays:
                assert await pid_of(client, topic, "where") != old
        await asyncio.to_thread(running.wait_restarted, "workers", index, old)

    run(scenario())
    assert "worker.max_snapshot_bytes allows 1000000" in running.log()


def test_a_handler_under_way_ends_first_and_what_follows_it_is_held_in_order(running):
    async def scenario():
        async with joined(running, *TOPICS) as client:
            pids = {topic: await pid_of(client, topic) for topic in TOPICS}
            for topic in TOPICS:
                client.cast(topic, "n", {"n": 2, "seconds": 5.0})
            old = pids[TOPICS[0]]
            moving = {topic for topic in TOPICS if pids[topic] == old}
            stop_worker(running, old)
            last, counted = 2, dict.fromkeys(TOPICS, 1)
            held = {}  # topic: the last number sent before its channel said that it was restored

            async def send():
                nonlocal last
                while True:
                    over = held.keys() == moving
                    last += 1
                    for topic in TOPICS:
                        client.cast(topic, "n", {"n": last})
                    if over:
                        return
                    await asyncio.sleep(0.02)

            sending = asyncio.create_task(send())
            answered_by = {}
            while not sending.done() or min(counted.values()) < last:
                message = await client.next()
                topic, event, payload = message[2:]
                if event == "restored":
                    assert counted[topic] >= 2, "after the handler that was under way"
                    held[topic] = last
                    continue
                assert event == "phx_reply", message
                counted[topic] += 1
                response = payload["response"]
                assert response["counted"] == response["last"] == counted[topic]
                answered_by[topic, counted[topic]] = response["pid"]
            await sending
            for topic in moving:
                assert answered_by[topic, 2] == old, "the handler that was under way ends where it began"
                assert answered_by[topic, last] != old
            assert any(answered_by[topic, held[topic]] != old for topic in moving), "some were held"

    run(scenario())


def test_intercepted_broadcasts_reach_a_channel_that_moves_each_once_and_in_order(running):
    async def scenario():
        topics = [f"out:{number}" for number in range(6)]
        got = {topic: [] for topic in topics}
        ended, restored = False, []
        async with contextlib.AsyncExitStack() as stack:
            bus = await stack.enter_async_context(mesh.connect(running.status["proxies"][0]["address"]))

            async def publish():
                number = 0
                while not ended:
                    number += 1
                    for topic in topics:
                        await bus.broadcast(topic, "number", {"n": number})
                return number

            for topic in topics:
                url = running.urls[0].replace("http", "ws") + "/socket"
                client = await stack.enter_async_context(Client(url))
                room = client.channel(topic, {"name": topic})
                room.on("number", got[topic].append)
                room.on("restored", restored.append)
                pid = (await room.join())["pid"]
            publishing = asyncio.create_task(publish())
            await until(lambda: all(len(each) > 50 for each in got.values()))
            index = stop_worker(running, pid)
            await asyncio.to_thread(running.wait_restarted, "workers", index, pid)
            await until(lambda: restored)
            seen = len(got[topics[0]])
            await until(lambda: all(len(each) > seen + 50 for each in got.values()))
            ended = True
            last = await publishing
            await until(lambda: all(each[-1]["n"] == last for each in got.values()))
            for each in got.values():
                assert [one["n"] for one in each] == list(range(1, last + 1))
                assert [one["told"] for one in each] == list(range(1, last + 1))

    run(scenario())


def test_subscriptions_move_and_nobody_sees_a_presence_leave(running):
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            bus = await stack.enter_async_context(mesh.connect(running.status["proxies"][0]["address"]))
            rooms, left, news, presences = [], [], [], []
            for topic in TOPICS:
                for number in range(2):
                    url = running.urls[number].replace("http", "ws") + "/socket"
                    client = await stack.enter_async_context(Client(url))
                    name = f"{topic} {number}"
                    room = client.channel(topic, {"name": name})
                    room.on("restored", lambda payload: None)
                    room.on("news", lambda payload, name=name: news.append((name, payload["n"])))
                    presences.append(
                        room.presence(on_leave=lambda key, now, metas: left.append((key, now)))
                    )
                    await room.join()
                    await room.push("listen", {"topic": "news:1"})
                    await room.push("appear")
                    rooms.append(room)
            await until(lambda: all(len(each.list()) == 2 for each in presences))
            before = [await room.push("n", {"n": 1}) for room in rooms]
            old = before[0]["pid"]
            index = stop_worker(running, old)
            await asyncio.to_thread(running.wait_restarted, "workers", index, old)
            after = [await room.push("n", {"n": 2}) for room in rooms]
            moved = {each["pid"] for each in before} - {each["pid"] for each in after}
            assert moved == {old}
            await bus.broadcast("news:1", "new", {"n": 7})
            await until(lambda: len(news) == len(rooms))
            assert {n for _, n in news} == {7}
            await until(lambda: left and all(metas(each) == [1, 1] for each in presences))
            assert all(now["metas"] for _, now in left), left

    run(scenario())


def metas(presence):
    """How many each key has."""
    return [len(each["metas"]) for each in presence.state.values()]
