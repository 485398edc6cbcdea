import gc
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.tracker.state import Change, Delta, Entry, State


def keys(state: State, topic: str = "t") -> dict[str, list[object]]:
    return {key: [meta["n"] for meta in metas] for key, metas in state.get_by_topic(topic).items()}


def merged(state: State, other: State) -> State:
    state.show(other.replica)
    for delta in other.deltas(state.clock_of(other.replica)):
        assert state.merge(other.replica, delta) is not None
    return state


def test_an_entry_counts_until_it_is_removed():
    state = State("a")
    entry = state.add("t", "ana", {"n": 1})
    state.add("t", "ana", {"n": 2})
    assert keys(state) == {"ana": [1, 2]}
    assert state.get_by_key("t", "ana") == [{"n": 1}, {"n": 2}]
    state.remove(entry.clock)
    assert keys(state) == {"ana": [2]}
    assert state.get_by_key("t", "bo") == []


def test_a_topic_without_entries_takes_no_memory():
    state = State("a")
    state.remove(state.add("t", "ana", {}).clock)
    assert state.topics() == []
    assert state._topics == {}  # private: an empty entry would show in memory only


def test_what_was_removed_is_not_kept_for_deltas():
    state = State("a")
    gc.collect()
    before = sum(isinstance(each, Entry) for each in gc.get_objects())
    for _ in range(1_000):
        state.remove(state.add("t", "k", {"n": ["a meta"]}).clock)
    gc.collect()
    assert sum(isinstance(each, Entry) for each in gc.get_objects()) == before
    assert state.deltas(0)[-1].clock == 2_000


def test_removing_what_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        State("a").remove(7)


def test_a_delta_brings_and_takes_entries_and_says_so():
    a, b = State("a"), State("b")
    b.show("a")
    first = a.add("t", "ana", {"n": 1})
    assert b.merge("a", *a.deltas(0)) == [Change(True, "t", "ana", {"n": 1})]
    a.remove(first.clock)
    (delta,) = a.deltas(1)
    assert b.merge("a", delta) == [Change(False, "t", "ana", {"n": 1})]
    assert b.merge("a", delta) == [], "twice is once"


def test_a_gap_is_refused():
    a, b = State("a"), State("b")
    a.add("t", "ana", {"n": 1})
    a.add("t", "bo", {"n": 2})
    (late,) = a.deltas(1)
    assert b.merge("a", late) is None
    assert b.clock_of("a") == 0


def test_an_old_delta_does_not_bring_back_what_was_removed():
    a, b = State("a"), State("b")
    entry = a.add("t", "ana", {"n": 1})
    (old,) = a.deltas(0)
    a.remove(entry.clock)
    merged(b, a)
    assert b.merge("a", old) == []
    assert keys(b) == {}


def test_a_hidden_replica_does_not_count_and_comes_back_as_it_is_then():
    a, b = State("a"), State("b")
    gone = a.add("t", "ana", {"n": 1})
    a.add("t", "bo", {"n": 2})
    merged(b, a)
    assert {change.key for change in b.hide("a")} == {"ana", "bo"}
    assert b.hide("a") == []
    assert keys(b) == {}
    a.remove(gone.clock)
    for delta in a.deltas(b.clock_of("a")):
        assert b.merge("a", delta) == [], "nobody is told of what does not count"
    assert b.show("a") == [Change(True, "t", "bo", {"n": 2})]


def test_a_forgotten_replica_leaves_nothing():
    a, b = State("a"), State("b")
    a.add("t", "ana", {"n": 1})
    merged(b, a)
    assert len(b.forget("a")) == 1
    assert b.replicas() == ["b"]
    assert b.clock_of("a") == 0


def test_nobody_can_speak_for_this_replica():
    state = State("a")
    state.add("t", "ana", {"n": 1})
    assert state.merge("a", Delta(0, 9, (), (1,))) == []
    assert state.hide("a") == []
    assert keys(state) == {"ana": [1]}


@pytest.mark.parametrize("max_log", [2, 10_000])
@pytest.mark.parametrize("since", [0, 1, 5, 11])
def test_deltas_in_parts_bring_everything(max_log, since):
    a, b = State("a", max_log), State("b")
    b.show("a")
    entries = [a.add("t", str(n), {"n": n}) for n in range(since)]
    for delta in a.deltas(0):
        b.merge("a", delta)
    entries += [a.add("t", str(n), {"n": n}) for n in range(since, 20)]
    for entry in entries[::3]:
        a.remove(entry.clock)
    parts = a.deltas(b.clock_of("a"), 3)
    assert len(parts) > 1
    for delta in parts:
        assert b.merge("a", delta) is not None
    assert keys(a) == keys(b)
    assert b.clock_of("a") == a.clock


def test_who_is_too_far_behind_for_the_log_gets_everything():
    a = State("a", max_log=2)
    for n in range(5):
        a.add("t", str(n), {"n": n})
    (delta,) = a.deltas(1)
    assert delta.full
    assert delta.since == 0
    assert not a.deltas(3)[0].full
    assert a.deltas(5) == []


def test_a_delta_travels_as_msgpack():
    delta = Delta(1, 3, (Entry(2, "t", "ana", {"phx_ref": "x", "nested": {"a": [1, None]}}),), (1,))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(delta), type=Delta) == delta


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "send", "hide"]),
        st.integers(0, 2),  # whose
        st.integers(0, 2),  # topic, key; or who hears it
        st.integers(0, 10_000),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(operations, st.integers(0, 2**32), st.sampled_from([1, 3, 10_000]), st.sampled_from([1, 2, 500]))
def test_replicas_converge_whatever_the_network_does(steps, seed, max_log, part):
    """Deltas are sent at any time, lost, doubled and reordered; then what is missing is asked for."""
    chance = random.Random(seed)
    states = [State(name, max_log) for name in "abc"]
    mirror = {state.replica: {} for state in states}  # what each listener was told, by (replica, entry)
    flying: list[tuple[int, int, Delta]] = []

    def told(state: State, source: str, changes: list[Change]) -> None:
        for change in changes:
            seen = mirror[state.replica].setdefault(source, [])
            if change.joined:
                assert change.meta not in seen, "joined twice"
                seen.append(change.meta)
            else:
                seen.remove(change.meta)  # raises: left without having joined

    for number, (verb, who, other, pick) in enumerate(steps):
        state = states[who]
        if verb == "add":
            entry = state.add(f"t{other}", f"k{pick % 3}", {"n": number})
            told(state, state.replica, [Change(True, entry.topic, entry.key, entry.meta)])
        elif verb == "remove":
            own = list(state.own_entries())
            if own:
                entry = state.remove(own[pick % len(own)].clock)
                told(state, state.replica, [Change(False, entry.topic, entry.key, entry.meta)])
        elif verb == "hide" and who != other:
            source = states[other].replica
            told(state, source, state.hide(source) if pick % 2 else state.show(source))
        elif verb == "send" and who != other:
            since = chance.randint(0, state.clock)
            flying += [(who, other, delta) for delta in state.deltas(since, part)]
        for _ in range(chance.randint(0, 3)):
            if flying:
                sender, hearer, delta = flying[chance.randrange(len(flying))]  # and it may come again
                if chance.random() < 0.5:
                    flying.remove((sender, hearer, delta))
                if chance.random() < 0.8:
                    source = states[sender].replica
                    told(states[hearer], source, states[hearer].merge(source, delta) or [])

    for state in states:
        for source in states:
            told(state, source.replica, state.show(source.replica))
            if source is not state:
                for delta in source.deltas(state.clock_of(source.replica), part):
                    changes = state.merge(source.replica, delta)
                    assert changes is not None
                    told(state, source.replica, changes)

    def everything(state: State) -> dict[str, dict[str, list[int]]]:
        return {
            topic: {
                key: sorted(meta["n"] for meta in metas) for key, metas in state.get_by_topic(topic).items()
            }
            for topic in state.topics()
        }

    truth = everything(states[0])
    assert [everything(state) for state in states] == [truth] * 3
    for state in states:
        assert sorted(meta["n"] for seen in mirror[state.replica].values() for meta in seen) == sorted(
            entry.meta["n"] for source in states for entry in source.own_entries()
        )
