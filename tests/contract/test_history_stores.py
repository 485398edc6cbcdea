"""The contract of HistoryStore (mesh/history/contract.py), on every implementation.

A test gets `run`, which runs a scenario with `make()`: it gives a store of another worker, with the same
histories. In memory that is the same object.
"""

import asyncio
import contextlib
import random

import pytest

from mesh.app.history import History
from mesh.errors import HistoryUnavailableError
from mesh.history.contract import Entry, Head, Page, Query
from mesh.history.log import Log, new_epoch
from mesh.history.memory_store import MemoryStore
from mesh.history.redis_store import RedisStore
from mesh.protocol.messages import JSON
from mesh.settings.history import HistorySettings
from mesh.settings.secret import Secret
from tests.support.redis import PROGRAMS, redis_server
from tests.support.until import PATIENCE, until

NOW = 1_000_000.0
TOPIC = "room:1"
HISTORY = History(messages=1000, seconds=60)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def in_memory(clock):
    store = MemoryStore("w1", 10**9, clock)
    yield lambda: store


def in_redis(server):
    @contextlib.asynccontextmanager
    async def connected(clock):
        server.command("FLUSHALL")
        settings = HistorySettings(store="redis", redis_url=Secret(server.url))
        async with contextlib.AsyncExitStack() as stack:

            def make():
                store = RedisStore(settings, clock)
                stack.push_async_callback(store.aclose)
                return store

            yield make

    return connected


@pytest.fixture(scope="module", params=["memory", *PROGRAMS])
def stores(request, tmp_path_factory):
    if request.param == "memory":
        yield in_memory
    else:
        with redis_server(tmp_path_factory.mktemp("history"), program=request.param) as server:
            yield in_redis(server)


@pytest.fixture
def run(stores):
    def run(scenario):
        async def main():
            clock = Clock()
            async with asyncio.timeout(PATIENCE), stores(clock) as make:
                await scenario(make, clock)

        asyncio.run(main())

    return run


def entry(offset, data=b"{}", at=NOW):
    return Entry(offset, f"e{offset}", JSON, data, "n1", 10 + offset, at)


async def append(store, *entries, topic=TOPIC):
    """Append, and return what `done` was told."""
    told = []
    store.append(topic, entries, told.append)
    await until(lambda: told)
    return told == [True]


async def append_each(store, count, **given):
    for offset in range(1, count + 1):
        assert await append(store, entry(offset, **given))


async def offsets(store, **query):
    page = await store.read(Query(TOPIC, **query))
    return page.complete, [each.offset for each in page.entries]


def test_a_new_topic_begins_an_epoch_and_keeps_it(run):
    async def scenario(make, clock):
        store = make()
        head = await store.open(TOPIC, HISTORY)
        assert head.offset == 0
        assert len(head.epoch) == 12
        assert head.epoch[0].isalpha()
        assert await store.open(TOPIC, HISTORY) == head
        assert await make().open(TOPIC, HISTORY) == head
        assert (await store.open("room:2", HISTORY)).epoch != head.epoch

    run(scenario)


def test_what_was_appended_is_read_as_it_was(run):
    async def scenario(make, clock):
        store = make()
        given = [
            Entry(1, "new_msg", JSON, b'{"a":1}', "n1", 7, NOW),
            Entry(2, "ünïcode 🎉", 2, bytes(range(256)), "another node", 2**53, NOW + 0.123456),
            Entry(3, "empty", 1, b"", "", 0, NOW),
        ]
        head = await store.open(TOPIC, HISTORY)
        assert await append(store, *given)
        assert await store.read(Query(TOPIC)) == Page(head.epoch, 3, True, given)
        assert await store.open(TOPIC, HISTORY) == (head.epoch, 3)

    run(scenario)


@pytest.mark.parametrize("topic", ["a b", "grüße:🎉", "{x}", "room:{a}:{b}", "*?[a]", "-", "x" * 4000])
def test_every_topic_has_its_own_history(run, topic):
    async def scenario(make, clock):
        store = make()
        await store.open(TOPIC, HISTORY)
        await store.open(topic, HISTORY)
        assert await append(store, entry(1), topic=topic)
        assert len((await store.read(Query(topic))).entries) == 1
        assert (await store.read(Query(TOPIC))).entries == []

    run(scenario)


def test_queries_by_position(run):
    async def scenario(make, clock):
        store = make()
        epoch = (await store.open(TOPIC, HISTORY)).epoch
        await append_each(store, 5)
        assert await offsets(store) == (True, [1, 2, 3, 4, 5])
        assert await offsets(store, after=0, epoch=epoch) == (True, [1, 2, 3, 4, 5])
        assert await offsets(store, after=3, epoch=epoch) == (True, [4, 5])
        assert await offsets(store, after=3) == (True, [4, 5])
        assert await offsets(store, after=5, epoch=epoch) == (True, [])
        assert await offsets(store, after=1, limit=2) == (False, [2, 3])
        assert await offsets(store, after=1, before=4) == (True, [2, 3])
        assert await offsets(store, before=4, limit=2) == (True, [2, 3])
        assert await offsets(store, before=1) == (True, [])
        assert await offsets(store, before=2**53, limit=1) == (True, [5])
        assert await offsets(store, limit=2) == (True, [4, 5])
        assert await offsets(store, limit=0) == (True, [])

    run(scenario)


def test_what_cannot_be_proven_is_not_complete(run):
    async def scenario(make, clock):
        store = make()
        head = await store.open(TOPIC, HISTORY)
        await append_each(store, 2)
        assert await store.read(Query(TOPIC, new_epoch(), 1)) == Page(head.epoch, 2, False, [])
        assert await store.read(Query(TOPIC, "", 1)) == Page(head.epoch, 2, False, [])
        for future in (3, 2**53):
            assert await store.read(Query(TOPIC, head.epoch, future)) == Page(head.epoch, 2, False, [])

    run(scenario)


def test_only_the_newest_messages_are_kept(run):
    async def scenario(make, clock):
        store = make()
        await store.open(TOPIC, History(messages=3))
        await append_each(store, 250)
        assert await offsets(store) == (True, [248, 249, 250])
        assert await offsets(store, after=247) == (True, [248, 249, 250])
        assert await offsets(store, after=246) == (False, [])
        assert await offsets(store, after=0) == (False, [])

    run(scenario)


def test_a_cached_topic_has_its_last_value(run):
    async def scenario(make, clock):
        store = make()
        await store.open(TOPIC, History(messages=1))
        await append_each(store, 3)
        assert await offsets(store) == (True, [3])
        assert await offsets(store, after=3) == (True, [])
        assert await offsets(store, after=1) == (False, [])

    run(scenario)


def test_bytes_are_limited(run):
    async def scenario(make, clock):
        store = make()
        await store.open(TOPIC, History(bytes=1000))
        await append_each(store, 12, data=b"x" * 300)
        assert await offsets(store) == (True, [10, 11, 12])
        assert await offsets(store, after=8) == (False, [])
        assert await append(store, entry(13, b"x" * 1001))
        assert await offsets(store) == (True, [])
        assert await offsets(store, after=13) == (True, [])
        assert await offsets(store, after=12) == (False, [])
        assert await append(store, entry(14, b"x" * 1000))
        assert await offsets(store) == (True, [14])

    run(scenario)


def test_entries_expire(run):
    async def scenario(make, clock):
        store = make()
        head = await store.open(TOPIC, HISTORY)
        for offset in range(1, 4):
            clock.now = NOW + 20 * offset
            assert await append(store, entry(offset, at=clock.now))
        clock.now = NOW + 90
        assert await offsets(store) == (True, [2, 3])
        assert await offsets(store, after=0) == (False, [])
        clock.now = NOW + 10_000
        assert await offsets(store) == (True, [])
        assert await offsets(store, after=3) == (True, [])
        assert await store.open(TOPIC, HISTORY) == (head.epoch, 3)
        assert await append(store, entry(4, at=clock.now))
        assert await offsets(store, after=3) == (True, [4])

    run(scenario)


def test_a_forgotten_topic_begins_a_new_epoch(run):
    async def scenario(make, clock):
        store = make()
        before = await store.open(TOPIC, HISTORY)
        await append_each(store, 3)
        after = await store.forget(TOPIC)
        assert after.epoch != before.epoch
        assert after.offset == 0
        assert await store.read(Query(TOPIC)) == Page(after.epoch, 0, True, [])
        assert await store.read(Query(TOPIC, before.epoch, 3)) == Page(after.epoch, 0, False, [])
        assert await append(store, entry(1))
        assert await store.read(Query(TOPIC, after.epoch, 0)) == Page(after.epoch, 1, True, [entry(1)])

    run(scenario)


def test_only_one_of_two_recorders_gives_an_offset(run):
    async def scenario(make, clock):
        one, two = make(), make()
        head = await one.open(TOPIC, HISTORY)
        assert await two.open(TOPIC, HISTORY) == head
        assert await append(one, entry(1))
        assert not await append(two, entry(1, b"another"))
        assert await two.open(TOPIC, HISTORY) == (head.epoch, 1)
        assert await append(two, entry(2))
        assert not await append(one, entry(2, b"another"))
        assert await one.read(Query(TOPIC)) == Page(head.epoch, 2, True, [entry(1), entry(2)])

    run(scenario)


def test_offsets_are_contiguous(run):
    async def scenario(make, clock):
        for wrong in ([entry(2)], [entry(1), entry(3)], [entry(0)], [entry(2), entry(1)]):
            store = make()
            head = await store.open(TOPIC, HISTORY)
            assert not await append(store, *wrong)
            assert await store.open(TOPIC, HISTORY) == Head(head.epoch, 0)

    run(scenario)


def test_answers_come_in_the_order_of_the_appends(run):
    async def scenario(make, clock):
        store = make()
        told = []
        for topic in ("room:1", "room:2"):
            await store.open(topic, HISTORY)
        for offset in range(1, 500):
            for topic in ("room:1", "room:2"):
                number = entry(offset if topic == "room:1" or offset < 100 else offset + 1)
                store.append(topic, [number], lambda ok, at=(topic, offset): told.append((*at, ok)))
        await until(lambda: len(told) == 2 * 499)
        assert [each for each in told if each[0] == "room:1"] == [
            ("room:1", offset, True) for offset in range(1, 500)
        ]
        second = [each for each in told if each[0] == "room:2"]
        assert [offset for _, offset, _ in second] == list(range(1, 500))
        assert not any(stored for _, offset, stored in second if offset >= 100)

    run(scenario)


def test_a_topic_must_be_opened(run):
    async def scenario(make, clock):
        store = make()
        assert not await append(store, entry(1))
        with pytest.raises(HistoryUnavailableError):
            await store.read(Query(TOPIC))
        with pytest.raises(HistoryUnavailableError):
            await store.forget(TOPIC)
        await store.open(TOPIC, HISTORY)
        assert store.problem() == ""

    run(scenario)


def test_every_query_is_answered_as_by_a_log(run):
    """The stream is read in pages, a log in memory at once: the answers are the same."""

    async def scenario(make, clock):
        chance, store = random.Random(1), make()
        history = History(messages=450, seconds=500, bytes=20_000)
        log = Log("w1", epoch=(await store.open(TOPIC, history)).epoch)
        for _ in range(30):
            new = []
            for _ in range(chance.randrange(1, 60)):
                clock.now += chance.choice([0, 0.5, 3])
                new.append(entry(log.offset + 1, b"x" * chance.choice([0, 1, 40, 90]), clock.now))
                log.append(new[-1])
            assert await append(store, *new)
            for _ in range(15):
                query = Query(
                    TOPIC,
                    chance.choice([None, log.epoch, "other"]),
                    chance.choice([None, 0, chance.randrange(log.offset + 2), max(0, log.offset - 3)]),
                    chance.choice([None, None, chance.randrange(log.offset + 2)]),
                    chance.choice([2**31, 0, 1, 50, 210]),
                )
                assert await store.read(query) == log.read(query, history, clock.now), query

    run(scenario)
