"""Reading histories from workers that answer, hesitate, die or cannot, over a bus in memory and in virtual time."""

import asyncio

import pytest

from mesh.app.history import KeptBroadcast
from mesh.app.pubsub import PubSub
from mesh.bus.calls import Calls, Responder
from mesh.bus.contract import Handlers
from mesh.bus.discovery.placement import Announcement, ranked
from mesh.bus.memory import MemoryBus, MemoryNetwork
from mesh.errors import ChannelError, HistoryUnavailableError
from mesh.history.answers import HistoryAnswers
from mesh.history.contract import NO_HISTORY, UNREADABLE, Page, Query
from mesh.history.reader import NEXT_SECONDS, HistoryReader
from mesh.history.workers import WorkersByPattern, WorkersByRoute
from mesh.protocol.messages import JSON, MSGPACK
from tests.support.history_worker import KEPT, StoreSource, endpoint
from tests.support.virtual_time import run_virtually

TOPIC = "room:1"
FIRST, SECOND, THIRD = ranked(TOPIC, ["worker-a", "worker-b", "worker-c"], 3)
WAIT_SECONDS = 5.0


class Mesh:
    """Workers by name: each has a source, or is silent without one."""

    def __init__(self):
        self.network = MemoryNetwork()
        self.announced = {}
        self.gone = set()
        bus = MemoryBus("gateway", self.network)
        self.calls = Calls(bus, self.gone.__contains__)
        bus.start(_handlers(self.calls.handlers))
        workers = WorkersByRoute(endpoint.kept_topics, lambda: list(self.announced.values()))
        self.reader = HistoryReader(self.calls, workers, WAIT_SECONDS)
        self.pubsub = PubSub(bus, histories=self.reader)

    def add(self, name, source=None, history=(KEPT,)):
        self.announced[name] = Announcement(node=name, kind="worker", history=history)
        if source is not None:
            bus = MemoryBus(name, self.network)
            bus.start(_handlers(Responder(bus, HistoryAnswers(source, endpoint.kept_topics).find).handlers))
        return source


def _handlers(messages):
    return Handlers(
        broadcast=None,
        recorded=None,
        keeps=None,
        messages=messages,
        published=None,
        unread=None,
        paths_changed=None,
    )


class SlowSource(StoreSource):
    """Answers with the number of the call and the epoch "slow", after some seconds."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    async def read(self, query):
        self.queries.append(query)
        await asyncio.sleep(self.seconds)
        return Page("slow", 1, True, [])

    async def forget(self, topic):
        self.forgotten.append(topic)
        await asyncio.sleep(self.seconds)
        return Page("slow", 0, True, [])


class Unreadable(StoreSource):
    async def read(self, query):
        self.queries.append(query)
        return UNREADABLE


async def filled(source, *payloads, topic=TOPIC):
    for payload in payloads:
        await source.record(topic, "msg", payload)
    return source


def now():
    return asyncio.get_running_loop().time()


def offsets(kept):
    return [each.offset for each in kept]


def test_the_newest_broadcasts_are_listed_with_the_oldest_first():
    async def scenario():
        mesh = Mesh()
        source = await filled(mesh.add(FIRST, StoreSource()), {"n": 1}, b"\x00", {"n": 3})
        at = [each.at for each in source.store.get(TOPIC).entries]
        assert await mesh.pubsub.history(TOPIC, 2) == [
            KeptBroadcast(2, "msg", b"\x00", at[1]),
            KeptBroadcast(3, "msg", {"n": 3}, at[2]),
        ]
        assert offsets(await mesh.pubsub.history(TOPIC, before=2)) == [1]
        assert offsets(await mesh.pubsub.history(TOPIC, 10**30, 10**30)) == [1, 2, 3]
        assert await mesh.pubsub.history("room:2") == []

    run_virtually(scenario())


def test_the_worker_that_hashing_puts_first_is_asked_and_no_other():
    async def scenario():
        mesh = Mesh()
        sources = {name: mesh.add(name, StoreSource()) for name in (THIRD, FIRST, SECOND)}
        mesh.add("worker-d", StoreSource(), history=(("/socket", "lobby"),))
        mesh.announced["gateway-2"] = Announcement(node="gateway-2", kind="gateway", history=(KEPT,))
        await mesh.pubsub.history(TOPIC)
        await mesh.pubsub.forget(TOPIC)
        await asyncio.sleep(WAIT_SECONDS)
        asked = {name: (len(each.queries), len(each.forgotten)) for name, each in sources.items()}
        assert asked == {FIRST: (1, 1), SECOND: (0, 0), THIRD: (0, 0)}

    run_virtually(scenario())


def test_a_topic_without_history_is_an_error_at_once():
    async def scenario():
        mesh = Mesh()
        for topic in ("plain:1", "nowhere"):
            with pytest.raises(ChannelError, match="has no history"):
                await mesh.pubsub.history(topic)
            with pytest.raises(ChannelError, match="has no history"):
                await mesh.pubsub.forget(topic)
        assert now() == 0

    run_virtually(scenario())


def test_workers_that_know_no_history_of_a_topic_are_believed():
    class NoHistory(StoreSource):
        async def read(self, query):
            return NO_HISTORY

    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST, NoHistory())
        mesh.add(SECOND, Unreadable())
        with pytest.raises(ChannelError, match="'room:1' has no history"):
            await mesh.pubsub.history(TOPIC)
        assert now() < 0.2
        await filled(mesh.add(THIRD, StoreSource()), {"n": 1})
        assert offsets(await mesh.pubsub.history(TOPIC)) == [1]

    run_virtually(scenario())


def test_the_next_worker_is_asked_when_the_first_is_known_to_have_stopped():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST)
        mesh.gone.add(FIRST)
        await filled(mesh.add(SECOND, StoreSource()), {"n": 1})
        assert offsets(await mesh.pubsub.history(TOPIC)) == [1]
        assert now() < 0.2

    run_virtually(scenario())


def test_a_worker_that_stops_while_it_is_asked_does_not_delay_the_answer():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST)
        await filled(mesh.add(SECOND, StoreSource()), {"n": 1})
        asyncio.get_running_loop().call_later(0.1, mesh.calls.fail_calls_to, FIRST)
        assert offsets(await mesh.pubsub.history(TOPIC)) == [1]
        assert 0.1 <= now() < NEXT_SECONDS

    run_virtually(scenario())


def test_the_next_worker_is_asked_when_the_first_is_silent():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST)
        mesh.add(SECOND)
        await filled(mesh.add(THIRD, StoreSource()), {"n": 1})
        assert offsets(await mesh.pubsub.history(TOPIC)) == [1]
        assert now() == pytest.approx(2 * NEXT_SECONDS)

    run_virtually(scenario())


def test_a_worker_that_answers_late_is_not_given_up():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST, SlowSource(WAIT_SECONDS - 0.1))
        mesh.add(SECOND)
        assert (await mesh.reader.read(Query(TOPIC))).epoch == "slow"

    run_virtually(scenario())


def test_a_history_is_not_removed_twice_because_the_first_worker_takes_its_time():
    async def scenario():
        mesh = Mesh()
        first, second = mesh.add(FIRST, SlowSource(2.0)), mesh.add(SECOND, StoreSource())
        await mesh.pubsub.forget(TOPIC)
        assert (first.forgotten, second.forgotten) == ([TOPIC], [])

    run_virtually(scenario())


def test_a_history_is_removed_by_the_second_worker_if_the_first_is_silent():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST)
        second = mesh.add(SECOND, StoreSource())
        await mesh.pubsub.forget(TOPIC)
        assert second.forgotten == [TOPIC]

    run_virtually(scenario())


def test_silence_of_all_workers_is_an_error_in_time_that_names_them():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST)
        mesh.add(SECOND)
        with pytest.raises(HistoryUnavailableError, match=f"no answer from .*{FIRST}.*{SECOND}"):
            await mesh.pubsub.history(TOPIC)
        assert now() == pytest.approx(WAIT_SECONDS, abs=0.1)

    run_virtually(scenario())


def test_a_worker_that_cannot_read_is_an_error_at_once():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST, Unreadable())
        with pytest.raises(HistoryUnavailableError, match=f"{FIRST} cannot read it now"):
            await mesh.pubsub.history(TOPIC)
        assert now() < 0.1

    run_virtually(scenario())


def test_a_worker_that_can_read_answers_for_one_that_cannot():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST, Unreadable())
        await filled(mesh.add(SECOND, StoreSource()), {"n": 1})
        assert offsets(await mesh.pubsub.history(TOPIC)) == [1]

    run_virtually(scenario())


def test_a_worker_that_comes_in_time_is_asked():
    async def scenario():
        mesh = Mesh()
        source = await filled(StoreSource(), {"n": 1})
        asyncio.get_running_loop().call_later(3, mesh.add, FIRST, source)
        assert offsets(await mesh.pubsub.history(TOPIC)) == [1]
        assert now() == pytest.approx(3, abs=0.1)

    run_virtually(scenario())


def test_a_mesh_without_workers_is_an_error_in_time():
    async def scenario():
        mesh = Mesh()
        mesh.add("worker-d", StoreSource(), history=(("/other", "room:*"),))
        with pytest.raises(HistoryUnavailableError, match="no worker that records it is known"):
            await mesh.pubsub.history(TOPIC)
        assert now() == pytest.approx(WAIT_SECONDS, abs=0.1)

    run_virtually(scenario())


def test_an_answer_that_is_not_a_page_is_none():
    async def scenario():
        mesh = Mesh()
        await filled(mesh.add(SECOND, StoreSource()), {"n": 1})
        mesh.add(FIRST)
        bus = MemoryBus(FIRST, mesh.network)

        async def answer(data):
            return b"\xc1"

        bus.start(_handlers(Responder(bus, lambda name: answer).handlers))
        assert offsets(await mesh.pubsub.history(TOPIC)) == [1]

    run_virtually(scenario())


def test_a_reader_whose_node_stops_ends_with_an_error():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST)
        asyncio.get_running_loop().call_later(0.1, mesh.calls.close)
        with pytest.raises(HistoryUnavailableError, match="this node stops"):
            await mesh.pubsub.history(TOPIC)

    run_virtually(scenario())


def test_a_reader_that_is_cancelled_leaves_no_call_behind():
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST)
        mesh.add(SECOND)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await mesh.pubsub.history(TOPIC)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not mesh.calls._pending

    run_virtually(scenario())


def test_a_history_larger_than_a_message_is_read_in_pages():
    async def scenario():
        mesh = Mesh()
        source = await filled(mesh.add(FIRST, StoreSource()), *(bytes(300_000) for _ in range(20)))
        assert offsets(await mesh.pubsub.history(TOPIC)) == list(range(1, 21))
        assert len(source.queries) == 7
        assert offsets(await mesh.pubsub.history(TOPIC, 7, 19)) == list(range(12, 19))
        epoch = source.store.get(TOPIC).epoch
        page = await mesh.reader.read(Query(TOPIC, epoch, after=3, limit=12))
        assert (offsets(page.entries), page.complete) == (list(range(4, 16)), False)
        page = await mesh.reader.read(Query(TOPIC, after=3))
        assert (offsets(page.entries), page.complete, page.epoch) == (list(range(4, 21)), True, epoch)

    run_virtually(scenario())


def test_a_single_page_is_read_with_one_call():
    async def scenario():
        mesh = Mesh()
        source = await filled(mesh.add(FIRST, StoreSource()), *(bytes(300_000) for _ in range(5)))
        page = await mesh.reader.read_page(Query(TOPIC))
        assert (offsets(page.entries), page.complete, len(source.queries)) == ([3, 4, 5], False, 1)

    run_virtually(scenario())


class Forgetful(StoreSource):
    """Its history is removed, and has one new entry, before the second query."""

    async def read(self, query):
        if len(self.queries) == 1:
            await self.store.forget(TOPIC)
            await self.record(TOPIC, "msg", {"new": True})
        return await super().read(query)


def test_pages_of_two_epochs_are_not_mixed():
    async def scenario():
        mesh = Mesh()
        await filled(mesh.add(FIRST, Forgetful()), *(bytes(600_000) for _ in range(4)))
        (kept,) = await mesh.pubsub.history(TOPIC)
        assert (kept.offset, kept.payload) == (1, {"new": True})

    run_virtually(scenario())


def test_what_followed_an_offset_is_not_complete_when_the_epoch_changes_in_between():
    async def scenario():
        mesh = Mesh()
        source = await filled(mesh.add(FIRST, Forgetful()), *(bytes(600_000) for _ in range(4)))
        page = await mesh.reader.read(Query(TOPIC, after=1))
        assert page == Page(source.store.get(TOPIC).epoch, 1, False, [])

    run_virtually(scenario())


def test_a_payload_that_cannot_be_decoded_is_left_out():
    async def scenario():
        mesh = Mesh()
        source = mesh.add(FIRST, StoreSource())
        await source.record(TOPIC, "msg", b"{", JSON)
        await source.record(TOPIC, "msg", b"\x81\xa1n\x02", MSGPACK)
        await source.record(TOPIC, "msg", b"", 77)
        (kept,) = await mesh.pubsub.history(TOPIC)
        assert (kept.offset, kept.payload) == (2, {"n": 2})

    run_virtually(scenario())


@pytest.mark.parametrize(
    ("limit", "before"), [(0, None), (-1, None), (1.0, None), (True, None), (1, 0), (1, "2")]
)
def test_a_limit_or_offset_that_is_none_is_an_error(limit, before):
    async def scenario():
        mesh = Mesh()
        mesh.add(FIRST, StoreSource())
        with pytest.raises(ChannelError, match="want an"):
            await mesh.pubsub.history(TOPIC, limit, before)

    run_virtually(scenario())


def test_without_routes_the_patterns_of_the_workers_decide():
    nodes = [
        Announcement(node="a", kind="worker", history=(("/socket", "room:*"), ("/socket", "lobby"))),
        Announcement(node="b", kind="worker", history=(("/other", "room:1"),)),
        Announcement(node="c", kind="worker", routes=(("/socket", "room:*"),)),
        Announcement(node="d", kind="gateway", history=(("/socket", "room:*"),)),
    ]
    workers = WorkersByPattern(lambda: nodes, lambda: False)
    assert workers.of("room:1") == ["a", "b"]
    assert workers.of("room:2") == ["a"]
    assert workers.of("lobby") == ["a"]
    assert workers.of("lobby:2") == []


def test_without_routes_a_topic_has_no_history_once_all_workers_are_known():
    nodes, settled = [], []
    workers = WorkersByPattern(lambda: nodes, lambda: bool(settled))
    settled.append(True)
    assert workers.of("room:1") == [], "no worker at all: it is not known"
    nodes.append(Announcement(node="a", kind="worker"))
    with pytest.raises(ChannelError, match="'room:1' has no history"):
        workers.of("room:1")
