"""mesh/bus/discovery/placement.py: who is alive, and which worker a topic belongs to."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus.discovery import placement
from mesh.bus.discovery.placement import Announcement, Placement, choose
from mesh.errors import WireError

WORKERS = [f"worker-{n}" for n in range(5)]


def worker(node, **kwargs):
    return Announcement(node=node, kind="worker", link="inproc://x", **kwargs)


def test_a_worker_that_goes_moves_only_its_own_topics():
    topics = [f"room:{n}" for n in range(500)]
    before = {topic: choose(topic, WORKERS) for topic in topics}
    after = {topic: choose(topic, WORKERS[1:]) for topic in topics}
    moved = {topic for topic in topics if before[topic] != after[topic]}
    assert moved == {topic for topic in topics if before[topic] == WORKERS[0]}


def test_topics_are_spread_evenly():
    counts = Counter(choose(f"room:{n}", WORKERS) for n in range(5000))
    assert min(counts.values()) > 800


@given(st.text(max_size=20), st.permutations(WORKERS))
def test_the_order_of_workers_does_not_matter(topic, workers):
    assert choose(topic, workers) == choose(topic, WORKERS)


def test_without_workers_there_is_no_choice():
    assert choose("room:1", []) is None


def test_a_node_is_new_once_and_gone_after_silence_or_goodbye():
    nodes = Placement()
    assert nodes.record(worker("a"), 0.0)
    assert not nodes.record(worker("a"), 3.0)
    assert nodes.expire(7.9, 5.0) == []
    assert [each.node for each in nodes.expire(8.1, 5.0)] == ["a"]
    assert nodes.record(worker("b"), 9.0)
    nodes.forget("b")
    assert nodes.nodes() == []


def test_an_announcement_survives_the_wire_and_unknown_keys():
    sent = worker("a", routes=(("/socket", "room:*"),))
    assert placement.decode(placement.encode(sent)) == sent


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x80", b"\xff" * 30])
def test_what_is_no_announcement_is_a_wire_error(data):
    with pytest.raises(WireError):
        placement.decode(data)


def test_another_version_is_a_wire_error():
    with pytest.raises(WireError, match="version 9"):
        placement.decode(placement.encode(worker("a", version=9)))
