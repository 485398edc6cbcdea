"""Recording in Redis: every broadcast gets one position, regardless of which worker records; what happens while Redis is away."""

import asyncio
import contextlib

from mesh.app import topics
from mesh.bus.contract import Handlers
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Recorded
from mesh.bus.memory import MemoryBus, MemoryNetwork
from mesh.history.contract import Query
from mesh.history.redis_recorder import RedisRecorder
from mesh.history.redis_store import RedisStore
from mesh.protocol.messages import JSON
from mesh.settings import HistorySettings
from mesh.settings.secret import Secret
from tests.support.redis import redis_server
from tests.support.until import until
from tests.unit.mesh.history.workers import KEY, endpoint, run

TOPIC = "room:1"


class Worker:
    def __init__(self, name, mesh, url, publish_first=False):
        self.name = name
        self.bus = MemoryBus(name, mesh.network)
        self.store = RedisStore(HistorySettings(store="redis", redis_url=Secret(url)))
        self.recorder = RedisRecorder(self.bus, mesh.kept, self.store, publish_first)
        self.announcement = Announcement(node=name, kind="worker", history=(KEY,))
        self.bus.start(handlers(self.recorder.on_broadcast, self.recorder.on_recorded))
        self.bus.subscribe(topics.prefix("room:*"))
        self.recorder.start()

    def say(self, number, topic=TOPIC):
        return self.recorder.publish(topic, "msg", JSON, b"%d" % number, None)

    async def numbers(self, epoch=None, after=None):
        page = await self.recorder.read(Query(TOPIC, epoch, after))
        return [int(each.data) for each in page.entries], page


def handlers(broadcast, recorded):
    return Handlers(
        broadcast=broadcast, recorded=recorded, keeps=None, messages={}, published=None, unread=None,
        paths_changed=None,
    )  # fmt: skip


class Mesh:
    def __init__(self, url):
        self.url = url
        self.network = MemoryNetwork()
        self.kept = endpoint().kept_topics
        self.workers = {}
        self.recorded = []
        self.publisher = MemoryBus("publisher", self.network)
        self.publisher.start(
            handlers(None, lambda topic, header, data: self.recorded.append((header, data)))
        )
        self.publisher.subscribe(topics.prefix("room:*"))

    def say(self, number):
        return self.publisher.publish(TOPIC, "msg", JSON, b"%d" % number, None)

    def add(self, name, **given):
        worker = self.workers[name] = Worker(name, self, self.url, **given)
        for other in self.workers.values():
            if other is not worker:
                other.recorder.announced(worker.announcement)
                worker.recorder.announced(other.announcement)
        return worker

    async def kill(self, name):
        worker = self.workers.pop(name)
        worker.bus.close()
        await worker.recorder.aclose()
        for other in self.workers.values():
            other.recorder.gone(name)

    @property
    def heard(self):
        """(epoch, offset, number), without what comes twice, as receivers take it."""
        found = []
        for header, data in self.recorded:
            if header.event:
                each = header.recorded.epoch, header.recorded.offset, int(data)
                if each not in found:
                    found.append(each)
        return found

    async def close(self):
        for name in list(self.workers):
            await self.kill(name)


@contextlib.asynccontextmanager
async def running(url, *names, **given):
    mesh = Mesh(url)
    try:
        for name in names:
            mesh.add(name, **given)
        yield mesh
    finally:
        await mesh.close()


def test_broadcasts_of_every_publisher_get_the_next_offset(tmp_path):
    async def scenario():
        async with running(server.url, "a", "b") as mesh:
            for number in range(0, 30, 3):
                mesh.say(number)
                mesh.workers["a"].say(number + 1)
                mesh.workers["b"].say(number + 2)
            await until(lambda: len(mesh.heard) == 30)
            assert [(offset, number) for _, offset, number in mesh.heard] == [(n + 1, n) for n in range(30)]
            for worker in mesh.workers.values():
                numbers, page = await worker.numbers()
                assert (numbers, page.offset) == (list(range(30)), 30)

    with redis_server(tmp_path / "redis") as server:
        run(scenario)


def test_after_the_death_of_every_worker_the_same_epoch_continues(tmp_path):
    async def scenario():
        async with running(server.url, "a", "b") as mesh:
            mesh.say(0)
            await until(lambda: len(mesh.heard) == 1)
            for name in ("a", "b"):
                await mesh.kill(name)
            for name in ("c", "d"):
                mesh.add(name)
            mesh.say(1)
            await until(lambda: len(mesh.heard) == 2)
            (first, _, _), (second, offset, _) = mesh.heard
            assert (first, offset) == (second, 2)
            assert (await mesh.workers["c"].numbers(first, 1))[0] == [1]

    with redis_server(tmp_path / "redis") as server:
        run(scenario)


def test_two_workers_that_do_not_know_each_other_give_no_position_twice(tmp_path):
    async def scenario():
        async with running(server.url) as mesh:
            for name in ("a", "b"):
                mesh.workers[name] = Worker(name, mesh, server.url)  # nobody announces itself
            for number in range(50):
                mesh.say(number)
                await asyncio.sleep(0)
            await until(lambda: len(mesh.heard) >= 50)
            assert sorted(number for _, _, number in mesh.heard) == list(range(50))
            assert sorted(offset for _, offset, _ in mesh.heard) == list(range(1, 51))

    with redis_server(tmp_path / "redis") as server:
        run(scenario)


def test_while_redis_is_away_broadcasts_go_on_and_nobody_recovers_across_it(tmp_path):
    async def scenario():
        async with running(server.url, "a") as mesh:
            mesh.say(0)
            await until(lambda: len(mesh.heard) == 1)
            server.kill()
            mesh.say(1)
            await until(lambda: len(mesh.heard) == 2)
            mesh.say(2)
            await until(lambda: len(mesh.heard) == 3)
            assert mesh.workers["a"].recorder.problem()
            before, away = mesh.heard[0][0], mesh.heard[1][0]
            assert before != away
            assert (await mesh.workers["a"].numbers(before, 1))[1].epoch == ""
            server.start()
            await until(lambda: mesh.workers["a"].recorder.problem() is None)
            mesh.say(3)
            await until(lambda: len({epoch for epoch, _, _ in mesh.heard}) > 2 or (mesh.say(4) and False))
            for epoch in (before, away):
                assert not (await mesh.workers["a"].numbers(epoch, 1))[1].complete

    with redis_server(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        run(scenario)


def test_what_was_stored_and_not_published_is_published_by_the_next_recorder(tmp_path):
    async def scenario():
        async with running(server.url, "a") as mesh:
            mesh.say(0)
            await until(lambda: len(mesh.heard) == 1)
            watcher = Worker("b", mesh, server.url)
            watcher.recorder.announced(mesh.workers["a"].announcement)
            mesh.workers["b"] = watcher
            mesh.say(1)
            await until(lambda: len(mesh.heard) == 2)
            dying = mesh.workers["a"]
            dying.bus.close()  # what it publishes from now on is lost
            mesh.say(2)  # only the other one hears it
            await mesh.kill("a")
            await until(lambda: [number for _, _, number in mesh.heard] == [0, 1, 2])
            assert len({epoch for epoch, _, _ in mesh.heard}) == 1

    with redis_server(tmp_path / "redis") as server:
        run(scenario)


def test_with_publish_first_a_broadcast_does_not_wait_for_redis(tmp_path):
    async def scenario():
        async with running(server.url, "a", publish_first=True) as mesh:
            mesh.say(0)
            await until(lambda: len(mesh.heard) == 1)
            server.freeze()
            mesh.say(1)
            assert [number for _, _, number in mesh.heard] == [0, 1]
            server.thaw()
            await until(lambda: not mesh.workers["a"].recorder.problem())

    with redis_server(tmp_path / "redis") as server:
        run(scenario)


def test_forgetting_begins_a_new_epoch_for_every_worker(tmp_path):
    async def scenario():
        async with running(server.url, "a", "b") as mesh:
            mesh.say(0)
            await until(lambda: len(mesh.heard) == 1)
            page = await mesh.workers["b"].recorder.forget(TOPIC)
            assert page.epoch not in ("", mesh.heard[0][0])
            mesh.say(1)
            await until(lambda: len(mesh.heard) == 2)
            assert mesh.heard[1] == (page.epoch, 1, 1)
            for worker in mesh.workers.values():
                assert (await worker.numbers())[0] == [1]

    with redis_server(tmp_path / "redis") as server:
        run(scenario)


def test_what_no_worker_has_recorded_does_not_end_the_epoch(tmp_path):
    async def scenario():
        async with running(server.url, "a", "b") as mesh:
            mesh.say(1)
            await until(lambda: len(mesh.heard) == 1)
            ((epoch, _, _),) = mesh.heard
            for position in (
                Recorded("x" * 12, 2**53, 0),
                Recorded(epoch, 2**53, 0),
                Recorded(epoch, 5, 2**53),
            ):
                mesh.publisher.publish_recorded(TOPIC, "msg", JSON, b"6", None, position)
                mesh.publisher.publish_recorded(TOPIC, "", JSON, b"", None, position)
            for worker in mesh.workers.values():
                numbers, page = await worker.numbers(epoch, 0)
                assert numbers == [1]
                assert page.complete
            await mesh.kill("a")
            mesh.say(2)
            mesh.say(3)
            await until(lambda: (epoch, 3, 3) in mesh.heard)

    with redis_server(tmp_path) as server:
        run(scenario)
