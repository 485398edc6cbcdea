"""What programs and clients may make a worker remember is bounded, and what is dropped is counted."""

import pytest

from mesh import History
from mesh.history.log import Log
from mesh.history.memory_store import MemoryStore
from mesh.history.originals import MAX_BYTES, Original, Originals
from mesh.telemetry import counters

HISTORY = History()


def add(store, topic, messages=0, event="e"):
    store.put(topic, HISTORY, Log("n"))
    for number in range(messages):
        store.record(topic, event, 0, b"{}", "p", number + 1)


def test_topics_that_were_only_asked_for_are_dropped_before_histories():
    dropped = []
    store = MemoryStore("n", 300_000)
    store.on_dropped = lambda topic, log: dropped.append(topic)
    add(store, "room:real", 5)
    for number in range(10_000):
        add(store, f"room:{number}")
    assert "room:real" in store
    assert store.bytes <= 300_000
    assert len(dropped) + len(store) == 10_001
    assert dropped[:2] == ["room:0", "room:1"]
    for number in range(10_000):
        add(store, f"room:used {number}", 1)
    assert "room:real" not in store
    assert store.bytes <= 300_000


def test_a_topic_that_was_forgotten_counts_as_only_asked_for():
    store = MemoryStore("n", 21_500)
    add(store, "room:real", 1)
    add(store, "room:forgotten", 1)
    store.change("room:forgotten", lambda log: log.forget("n"))
    store.record("room:real", "e", 0, b"{}", "p", 5)
    store.change("room:forgotten", lambda log: None)
    for number in range(9):
        add(store, f"room:{number}", 1)
    assert "room:forgotten" not in store
    assert "room:real" in store


def test_the_bytes_of_events_and_topics_count():
    event, topic = "e" * 4_000, "room:" + "t" * 4_000
    store = MemoryStore("n", 1_000_000)
    add(store, topic, 100, event)
    assert store.bytes > 100 * len(event)
    store.change(topic, lambda log: log.forget("n"))
    assert store.bytes < 10_000
    originals = Originals()
    dropped = 0
    for number in range(20_000):
        original = Original(event, 0, b"{}", "p", number, None, 0.0)
        dropped += originals.add(topic, original)
    assert dropped == 20_000 - len(originals)
    assert len(originals) * 8_000 < MAX_BYTES * 1.1


@pytest.mark.parametrize("limit", [1, 1_000_000])
def test_200_000_topics_with_a_message_each_stay_within_the_limit(limit):
    before = counters.value("history_topics_dropped")
    store = MemoryStore("n", limit)
    for number in range(200_000):
        add(store, f"room:{number}", 1)
    assert store.bytes <= max(limit, 2_500)
    assert counters.value("history_topics_dropped") - before == 200_000 - len(store)
