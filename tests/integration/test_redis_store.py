"""RedisStore: what is in the streams, also what others wrote, and its settings. The contract suite has the rest."""

import asyncio
import subprocess
import sys

import pytest

from mesh.app.history import History
from mesh.errors import HistoryUnavailableError, SettingsError
from mesh.history import redis_store
from mesh.history.contract import Query
from mesh.history.redis_store import RedisStore
from mesh.settings.history import HistorySettings
from tests.support.redis import AOF, HISTORY, KEY, TOPIC, append, entry, redis_server, run, settings
from tests.support.until import until


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def durable(tmp_path):
    with redis_server(tmp_path / "redis", *AOF) as server:
        yield server


# What is stored


def test_workers_that_open_a_topic_at_once_agree_on_its_epoch(server):
    async def scenario(store):
        stores = [RedisStore(settings(server.url)) for _ in range(8)]
        heads = await asyncio.gather(*(each.open(TOPIC, HISTORY) for each in stores))
        assert len(set(heads)) == 1
        for each in stores:
            await each.aclose()

    run(scenario, server)


def test_a_late_append_of_a_forgotten_epoch_is_refused(server):
    async def scenario(store):
        late = RedisStore(settings(server.url))
        await store.open(TOPIC, HISTORY)
        await late.open(TOPIC, HISTORY)
        head = await store.forget(TOPIC)
        assert not await append(late, entry(1))
        assert await late.open(TOPIC, HISTORY) == head
        await late.aclose()

    run(scenario, server)


def test_what_is_appended_in_one_turn_of_the_loop_goes_out_together(server):
    async def scenario(store):
        told = []
        for number in range(20):
            await store.open(f"room:{number}", HISTORY)
        before = int(server.command("INFO", "stats").partition(b"total_reads_processed:")[2].split()[0])
        for offset in range(1, 6):
            for number in range(20):
                store.append(f"room:{number}", [entry(offset)], told.append)
        await until(lambda: len(told) == 100)
        after = int(server.command("INFO", "stats").partition(b"total_reads_processed:")[2].split()[0])
        assert all(told)
        assert after - before < 20  # among them this test's own, and checks

    run(scenario, server)


def test_a_stream_is_trimmed_and_expires(server):
    async def scenario(store):
        history = History(messages=100_000, seconds=300, bytes=100_000)
        await store.open(TOPIC, history)
        for offset in range(1, 501):
            store.append(TOPIC, [entry(offset, b"x" * 5000)], lambda stored: None)
        assert await append(store, entry(501))
        assert int(server.command("XLEN", KEY)[1:]) < 40
        assert len((await store.read(Query(TOPIC))).entries) == 20
        assert 400_000 - 5_000 < int(server.command("PTTL", KEY)[1:]) <= 400_000
        messages = History(messages=10, seconds=1000)
        await store.open("room:2", messages)
        for offset in range(1, 1001):
            store.append("room:2", [entry(offset)], lambda stored: None)
        assert await append(store, entry(1001), topic="room:2")
        assert int(server.command("XLEN", "channelmesh:history:room:2")[1:]) <= 210
        assert 400_000 < int(server.command("PTTL", "channelmesh:history:room:2")[1:]) <= 1_000_000

    run(scenario, server, redis_idle_seconds=400.0)


def test_scripts_that_the_server_has_forgotten_are_sent_again(server):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        server.command("SCRIPT", "FLUSH")
        assert await append(store, entry(1))
        server.command("SCRIPT", "FLUSH")
        assert await store.open(TOPIC, HISTORY) == (head.epoch, 1)

    run(scenario, server)


def test_the_topics_used_least_recently_are_closed(server, monkeypatch):
    monkeypatch.setattr(redis_store, "MAX_TOPICS", 3)

    async def scenario(store):
        for number in (1, 2, 3):
            await store.open(f"room:{number}", HISTORY)
        assert await append(store, entry(1), topic="room:1")
        await store.read(Query("room:2"))
        await store.open("room:4", HISTORY)
        assert not await append(store, entry(1), topic="room:3")
        assert await append(store, entry(2), topic="room:1")
        assert await append(store, entry(1), topic="room:2")
        store.drop("room:1")
        assert not await append(store, entry(3), topic="room:1")
        assert (await store.open("room:1", HISTORY)).offset == 2

    run(scenario, server)


# What others wrote


@pytest.mark.parametrize(
    "fields", [("a", "b"), ("epoch", "x"), ("epoch", "\xff", "run", ""), ("epoch", "e", "run", "r")]
)
def test_entries_of_another_program_are_reported(durable, fields):
    async def scenario(store):
        await store.open(TOPIC, HISTORY)
        assert await append(store, entry(1))
        durable.command("XADD", KEY, "*", *fields)
        with pytest.raises(HistoryUnavailableError, match=r"did not write, [0-9]+-0: delete the key"):
            await store.read(Query(TOPIC))
        assert not await append(store, entry(2))
        assert store.problem() == ""
        await store.open("room:2", HISTORY)

    run(scenario, durable)


def test_an_entry_with_fields_of_another_kind_is_reported(durable):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        durable.command("XADD", KEY, "1-0", "epoch", head.epoch, "run", "", "event", "e", "codec", "many")
        with pytest.raises(HistoryUnavailableError, match="did not write, 1-0"):
            await store.read(Query(TOPIC))

    run(scenario, durable)


def test_a_gap_between_entries_is_reported(server):
    async def scenario(store):
        await store.open(TOPIC, HISTORY)
        assert await append(store, entry(1), entry(2), entry(3))
        server.command("XDEL", KEY, "2-0")
        with pytest.raises(HistoryUnavailableError, match="did not write"):
            await store.read(Query(TOPIC))

    run(scenario, server)


def test_an_id_out_of_range_is_reported(durable):
    async def scenario(store):
        durable.command("XADD", KEY, f"{2**60}-0", "epoch", "e", "run", "r")
        with pytest.raises(HistoryUnavailableError, match="did not write"):
            await store.open(TOPIC, HISTORY)

    run(scenario, durable)


def test_a_key_of_another_type_is_reported_and_stays(server):
    async def scenario(store):
        await store.open(TOPIC, HISTORY)
        server.command("SET", KEY, "mine")
        for attempt in (store.open(TOPIC, HISTORY), store.read(Query(TOPIC)), store.forget(TOPIC)):
            with pytest.raises(HistoryUnavailableError, match="does not hold a stream"):
                await attempt
        assert not await append(store, entry(1))
        assert b"mine" in server.command("GET", KEY)
        assert store.problem() == ""

    run(scenario, server)


@pytest.mark.parametrize("command", ["DEL", "XTRIM"])
def test_a_topic_whose_stream_was_emptied_begins_a_new_epoch(server, command):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        assert await append(store, entry(1), entry(2))
        server.command(*(("DEL", KEY) if command == "DEL" else ("XTRIM", KEY, "MAXLEN", 0)))
        page = await store.read(Query(TOPIC, head.epoch, 1))
        assert (page.complete, page.entries, page.offset) == (False, [], 0)
        assert page.epoch != head.epoch
        assert not await append(store, entry(3))
        assert await store.open(TOPIC, HISTORY) == (page.epoch, 0)

    run(scenario, server)


# Configuration


@pytest.mark.parametrize(
    "url", ["http://:SECRET@x", "redis://x:SECRET@y:z/0", "SECRET", "redis://[::SECRET"]
)
def test_an_invalid_address_is_refused_without_showing_it(url):
    with pytest.raises(SettingsError, match=r"history\.redis_url") as caught:
        RedisStore(settings(url))
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_an_address_there_is_no_store():
    with pytest.raises(SettingsError, match=r"history\.redis_url is missing"):
        RedisStore(HistorySettings())


def test_without_redis_py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SettingsError, match=r"pip install 'channelmesh\[redis\]'"):
        RedisStore(settings("redis://localhost"))


def test_nobody_loads_redis_py_who_does_not_use_it():
    code = "import sys, mesh, mesh.nodes.cli.nodes, mesh.nodes.embedded, mesh.history.redis_store; print([each for each in sys.modules if each.partition('.')[0] in ('redis', 'hiredis')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
