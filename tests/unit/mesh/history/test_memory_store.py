"""The logs of a worker: the limit of their memory, and what is dropped."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mesh.app.history import History
from mesh.errors import HistoryUnavailableError
from mesh.history.contract import Head, Query
from mesh.history.log import LOG_BYTES, Log, Snapshot
from mesh.history.memory_store import MemoryStore
from mesh.telemetry import counters
from tests.unit.mesh.history.logs import NOW, check, entry, offsets

MAX_BYTES = 20_000
TOPICS = [f"t{number}" for number in range(8)]
HISTORY = History(messages=20, seconds=100, bytes=5_000)


class Store(RuleBasedStateMachine):
    """Any sequence of operations, against a model of which topic was used how recently, and is empty."""

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.store = MemoryStore("w", MAX_BYTES, lambda: self.now)
        self.store.on_dropped = self.dropped
        self.used = []  # the least recently used first
        self.sequence = 0

    def dropped(self, topic, log):
        check(log)
        assert topic not in self.store
        *others, _ = self.used  # the last one is in use
        offsets = {each: (log if each == topic else self.store.get(each)).offset for each in others}
        assert topic == next((each for each in others if not offsets[each]), others[0])
        self.used.remove(topic)

    def use(self, topic):
        if topic in self.used:
            self.used.remove(topic)
        self.used.append(topic)

    @rule(topic=st.sampled_from(TOPICS))
    def open(self, topic):
        if topic not in self.store:
            self.use(topic)
        head = asyncio.run(self.store.open(topic, HISTORY))
        assert head == self.store.get(topic).head

    @rule(topic=st.sampled_from(TOPICS), size=st.integers(0, 6_000), origin=st.sampled_from("abc"))
    def record(self, topic, size, origin):
        if topic in self.store and self.store.get(topic).complete:
            self.use(topic)
            self.sequence += 1
            assert self.store.record(topic, "e", 1, b"x" * size, origin, self.sequence) is not None
            assert self.store.record(topic, "e", 1, b"x", origin, self.sequence) is None

    @rule(topic=st.sampled_from(TOPICS), sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=4))
    def append(self, topic, sizes):
        told, log = [], self.store.get(topic)
        if log is not None and not log.complete:
            return
        first = 1 if log is None else log.offset + 1
        if log is not None:
            self.use(topic)
        new = [entry(first + at, b"x" * size, at=self.now) for at, size in enumerate(sizes)]
        self.store.append(topic, new, told.append)
        assert told == [log is not None]
        if log is not None:
            self.store.append(topic, new, told.append)
            assert told == [True, False]

    @rule(topic=st.sampled_from(TOPICS), offset=st.integers(1, 40), claim=st.booleans())
    def follow(self, topic, offset, claim):
        if topic in self.store:
            self.use(topic)
            new = None if claim else entry(offset, b"x" * offset, at=self.now)
            self.store.change(topic, lambda log: log.follow(log.term, "z", Head("e", offset), new))

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(0, 30))
    def put(self, topic, count):
        entries = [entry(each, b"x" * 200, at=self.now) for each in range(1, count + 1)]
        self.use(topic)
        self.store.put(topic, HISTORY, Log.of(Snapshot("e", 1, "z", count, entries, {"n": [count]})))

    @rule(topic=st.sampled_from(TOPICS))
    def read(self, topic):
        if topic in self.store:
            self.use(topic)
            page = self.store.read_now(Query(topic))
            assert page.entries == list(self.store.get(topic).entries)
            assert all(each.at >= self.now - HISTORY.seconds for each in page.entries)

    @rule(topic=st.sampled_from(TOPICS))
    def forget(self, topic):
        if topic in self.store:
            self.use(topic)
            before = self.store.get(topic).epoch
            assert asyncio.run(self.store.forget(topic)).epoch != before

    @rule(topic=st.sampled_from(TOPICS))
    def drop(self, topic):
        self.store.drop(topic)
        if topic in self.used:
            self.used.remove(topic)

    @rule(topic=st.sampled_from(TOPICS))
    def change_that_fails(self, topic):
        def change(log):
            log.append(entry(log.offset + 1, b"x" * 10, at=self.now))
            raise ZeroDivisionError

        if topic in self.store and self.store.get(topic).complete:
            self.use(topic)
            with pytest.raises(ZeroDivisionError):
                self.store.change(topic, change)

    @rule(seconds=st.floats(0, 200), count=st.integers(0, 10))
    def wait_and_trim(self, seconds, count):
        self.now += seconds
        self.store.trim_some(count)
        if count >= 2 * len(self.used):
            self.store.trim_some(count)
            for topic in self.store:
                assert all(each.at >= self.now - 100 for each in self.store.get(topic).entries)

    @invariant()
    def the_memory_is_counted_exactly_and_limited(self):
        logs = [self.store.get(topic) for topic in self.store]
        for log in logs:
            check(log)
        assert self.store.bytes == sum(log.memory for log in logs)
        assert self.store.bytes <= MAX_BYTES

    @invariant()
    def the_topics_used_last_are_kept(self):
        assert list(self.store) == self.used
        assert len(self.store) == len(self.used)


TestStore = Store.TestCase
TestStore.settings = settings(stateful_step_count=40)


def test_a_topic_without_a_log_cannot_be_read():
    store = MemoryStore("w", MAX_BYTES)
    assert store.get("t") is None
    assert "t" not in store
    store.drop("t")
    with pytest.raises(HistoryUnavailableError, match="'t' has no history"):
        store.read_now(Query("t"))
    with pytest.raises(KeyError):
        store.change("t", Log.snapshot)


def test_dropped_topics_are_counted():
    before, dropped = counters.value("history_topics_dropped"), []
    store = MemoryStore("w", 3 * LOG_BYTES)
    store.on_dropped = lambda topic, log: dropped.append((topic, log.offset))
    for number in range(5):
        store.put(f"t{number}", HISTORY, Log("w", offset=number))
    assert dropped == [("t0", 0), ("t1", 1)]
    assert list(store) == ["t2", "t3", "t4"]
    assert counters.value("history_topics_dropped") - before == 2


def test_the_last_topic_loses_its_oldest_entries_rather_than_exceed_the_limit():
    store = MemoryStore("w", 10_000)
    store.put("t", History(bytes=1_000_000), Log("w"))
    for number in range(1, 21):
        store.record("t", "e", 1, b"x" * 1000, "n", number)
    assert store.bytes <= 10_000
    assert offsets(store.get("t").entries) == list(range(15, 21))


def test_trimming_goes_through_all_topics():
    now = [NOW]
    store = MemoryStore("w", 10**9, lambda: now[0])
    for topic in TOPICS:
        store.put(topic, HISTORY, Log("w"))
        store.record(topic, "e", 1, b"x", "n", 1)
    now[0] += 1_000
    for _ in range(4):
        store.trim_some(2)
    assert not any(store.get(topic).entries for topic in TOPICS)
