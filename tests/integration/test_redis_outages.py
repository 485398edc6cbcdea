"""RedisStore while its server dies, freezes, restarts, or refuses: what is reported, and what the epoch is then."""

import asyncio
import time

import pytest

from mesh.errors import HistoryUnavailableError
from mesh.history import redis_store
from mesh.history.contract import Query
from mesh.history.redis_connection import OPERATION_SECONDS
from mesh.history.redis_store import RedisStore
from mesh.telemetry import counters
from tests.support.proxy import two_ports_in_a_row
from tests.support.redis import (
    AOF,
    HISTORY,
    KEY,
    SNAPSHOTS,
    TOPIC,
    append,
    entry,
    opened,
    redis_server,
    run,
    settings,
)
from tests.support.until import until


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        yield server


# Restarts


def test_without_persistence_a_restart_begins_a_new_epoch(server):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        assert await append(store, entry(1))
        server.kill()
        server.start()
        after = await opened(store)
        assert after.epoch != head.epoch
        assert after.offset == 0

    run(scenario, server)


@pytest.mark.parametrize("same_worker", [True, False])
def test_with_an_append_only_file_a_kill_loses_nothing(tmp_path, same_worker):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        for offset in range(1, 51):
            assert await append(store, entry(offset))
        server.kill()
        server.start()
        after = store if same_worker else RedisStore(settings(server.url))
        assert await opened(after) == (head.epoch, 50)
        page = await after.read(Query(TOPIC, head.epoch, 20))
        assert page.complete
        assert [each.offset for each in page.entries] == list(range(21, 51))
        assert await append(after, entry(51))
        await after.aclose()

    with redis_server(tmp_path / "redis", *AOF) as server:
        run(scenario, server)


@pytest.mark.parametrize("same_worker", [True, False])
def test_an_older_snapshot_is_not_taken_for_the_history(tmp_path, same_worker):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        assert await append(store, entry(1))
        server.command("SAVE")
        assert await append(store, entry(2))
        server.kill()
        server.start()
        after = store if same_worker else RedisStore(settings(server.url))
        assert (await opened(after)).epoch != head.epoch
        await after.aclose()

    with redis_server(tmp_path / "redis", *SNAPSHOTS) as server:
        run(scenario, server)


def test_a_query_is_not_answered_from_an_older_snapshot(tmp_path):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        assert await append(store, entry(1))
        server.command("SAVE")
        assert await append(store, entry(2))
        server.kill()
        server.start()
        await until(lambda: not store.problem())
        page = await read_when_back(store, Query(TOPIC, head.epoch, 0))
        assert not page.complete
        assert page.epoch != head.epoch

    with redis_server(tmp_path / "redis", *SNAPSHOTS) as server:
        run(scenario, server)


async def read_when_back(store, query):
    while True:
        try:
            return await store.read(query)
        except HistoryUnavailableError:
            await until(lambda: not store.problem())


@pytest.mark.parametrize("connected_before", [True, False])
def test_a_replica_that_takes_over_begins_a_new_epoch(tmp_path, connected_before):
    port, other = two_ports_in_a_row(), two_ports_in_a_row()

    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        assert await append(store, entry(1))
        await until(lambda: b"1-0" in replica.command("XREVRANGE", KEY, "+", "-", "COUNT", "1"))
        after = RedisStore(settings(replica.url))
        if connected_before:
            with pytest.raises(HistoryUnavailableError, match="read only replica"):
                await after.open(TOPIC, HISTORY)
        replica.command("REPLICAOF", "NO", "ONE")
        assert (await opened(after)).epoch != head.epoch
        await after.aclose()

    copies = ("--replicaof", "127.0.0.1", str(port))
    with (
        redis_server(tmp_path / "redis", *AOF, "--port", str(port)) as server,
        redis_server(tmp_path / "replica", *AOF, "--port", str(other), *copies) as replica,
    ):
        run(scenario, server)


# Outages


def test_a_server_that_was_killed_is_reported_and_used_again(server, log_lines):
    async def scenario(store):
        await store.open(TOPIC, HISTORY)
        before = counters.value("history_store_failures")
        server.kill()
        assert not await append(store, entry(1), entry(2))
        assert not await append(store, entry(3))
        assert counters.value("history_store_failures") - before == 3
        assert "history.redis_url: the server at " in store.problem()
        with pytest.raises(HistoryUnavailableError, match="the server at"):
            await store.read(Query(TOPIC))
        await until(lambda: len(log_lines) > 0)
        server.start()
        await opened(store)
        assert store.problem() == ""
        assert await append(store, entry(1))
        about = [event for _, _, event, _ in log_lines if "history store" in event]
        assert about == ["the history store cannot be used", "the history store can be used again"]

    run(scenario, server)


def test_an_outage_is_noticed_without_anything_to_store(server):
    async def scenario(store):
        await opened(store)
        server.kill()
        await until(store.problem)
        server.start()
        await until(lambda: not store.problem())

    run(scenario, server)


def test_a_frozen_server_blocks_nobody_and_gives_no_offset_twice(server):
    async def scenario(store):
        head = await store.open(TOPIC, HISTORY)
        loop, told = asyncio.get_running_loop(), []
        server.freeze()
        started = loop.time()
        store.append(TOPIC, [entry(1)], told.append)
        slowest, last = 0.0, started
        while not told:
            await asyncio.sleep(0.001)
            slowest, last = max(slowest, loop.time() - last), loop.time()
        assert told == [False]
        assert OPERATION_SECONDS * 0.9 < last - started < OPERATION_SECONDS * 3
        assert slowest < 1
        assert f"does not answer within {OPERATION_SECONDS:g} s" in store.problem()
        with pytest.raises(HistoryUnavailableError):
            await store.read(Query(TOPIC))
        server.thaw()
        # The server may have stored the entry after all, before or after the topic is opened again.
        while not await append(store, entry((await opened(store)).offset + 1)):
            pass
        page = await store.read(Query(TOPIC, head.epoch, 0))
        assert page.complete
        assert [each.offset for each in page.entries] == list(range(1, page.offset + 1))

    run(scenario, server)


def test_a_server_that_refuses_writes_is_reported(server):
    async def scenario(store):
        await store.open(TOPIC, HISTORY)
        server.command("CONFIG", "SET", "maxmemory", "1")
        assert not await append(store, entry(1))
        await until(lambda: "OOM" in store.problem() or "memory" in store.problem())
        server.command("CONFIG", "SET", "maxmemory", "0")
        await opened(store)
        assert await append(store, entry(1))

    run(scenario, server)


def test_a_wrong_password_is_reported_without_it(tmp_path):
    port = two_ports_in_a_row()

    async def scenario():
        for password, works in (("right", True), ("wr0ng", False)):
            store = RedisStore(settings(f"redis://:{password}@127.0.0.1:{port}/0"))
            if works:
                await store.open(TOPIC, HISTORY)
            else:
                with pytest.raises(HistoryUnavailableError) as caught:
                    await store.open(TOPIC, HISTORY)
                assert f"127.0.0.1:{port}" in store.problem()
                assert password not in store.problem() + str(caught.value)
            await store.aclose()

    with redis_server(tmp_path / "redis", "--port", str(port), "--requirepass", "right"):
        asyncio.run(scenario())


def test_something_else_than_redis_is_reported(tmp_path):
    async def scenario():
        async def answer(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        other = await asyncio.start_unix_server(answer, tmp_path / "other")
        async with other:
            store = RedisStore(settings(f"unix://{tmp_path}/other"))
            with pytest.raises(HistoryUnavailableError, match="cannot be used"):
                await store.open(TOPIC, HISTORY)
            await store.aclose()

    asyncio.run(scenario())


def test_what_waits_for_the_server_is_bounded(server, monkeypatch):
    monkeypatch.setattr(redis_store, "MAX_WAITING_BYTES", 10_000)

    async def scenario(store):
        await store.open(TOPIC, HISTORY)
        await store.open("room:2", HISTORY)
        told, before = [], counters.value("history_store_failures")
        for offset in range(1, 101):
            store.append(TOPIC, [entry(offset, b"x" * 1000)], lambda ok, at=offset: told.append((at, ok)))
        await until(lambda: len(told) == 100)
        assert told == [(offset, offset <= 7) for offset in range(1, 101)]
        assert counters.value("history_store_failures") - before == 93
        assert await append(store, entry(1), topic="room:2")
        assert not await append(store, entry(8))
        assert (await store.open(TOPIC, HISTORY)).offset == 7
        assert await append(store, entry(8))

    run(scenario, server)


def test_an_answer_that_raises_hurts_no_other(server):
    async def scenario(store):
        def fail(stored):
            raise ValueError("not our fault")

        await store.open(TOPIC, HISTORY)
        store.append(TOPIC, [entry(1)], fail)
        assert await append(store, entry(2))

    run(scenario, server)


# The end


def test_what_waits_is_stored_before_the_end(server):
    async def scenario(store):
        other, told = RedisStore(settings(server.url)), []
        await other.open(TOPIC, HISTORY)
        for offset in range(1, 51):
            other.append(TOPIC, [entry(offset)], told.append)
        await other.aclose()
        assert told == [True] * 50
        assert (await store.open(TOPIC, HISTORY)).offset == 50
        assert not await append(other, entry(51))
        with pytest.raises(HistoryUnavailableError, match="closed"):
            await other.open(TOPIC, HISTORY)

    run(scenario, server)


def test_the_end_does_not_wait_for_a_frozen_server(server):
    async def scenario(store):
        other, told = RedisStore(settings(server.url)), []
        await other.open(TOPIC, HISTORY)
        server.freeze()
        other.append(TOPIC, [entry(1)], told.append)
        started = time.monotonic()
        await other.aclose()
        assert time.monotonic() - started < 3 * OPERATION_SECONDS
        assert told == [False]
        server.thaw()

    run(scenario, server)
