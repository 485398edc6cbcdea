"""Replicas over a network that a test can spoil, in virtual time."""

import asyncio
import datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import AlreadyTrackedError, NotTrackedError
from mesh.settings import PresenceSettings
from mesh.telemetry import counters, logs
from mesh.tracker import messages
from mesh.tracker.messages import Gossip, Transfer
from mesh.tracker.state import Delta, Entry
from mesh.tracker.tracker import ANSWER_SECONDS, Tracker
from tests.support.network import Network
from tests.support.virtual_time import run_virtually

SETTINGS = PresenceSettings()


class Node:
    """A tracker, and what it told about who is there."""

    def __init__(self, network, name):
        self.seen = []
        self.diffs = []
        self.tracker = network.trackers[name] = Tracker(
            "people", name, network.publish(name), SETTINGS, self._changed
        )
        self.tracker.start()

    def _changed(self, changes):
        self.diffs.append(changes)
        for change in changes:
            entry = (change.topic, change.key, change.meta["n"])
            if change.joined:
                assert entry not in self.seen
                self.seen.append(entry)
            else:
                self.seen.remove(entry)

    def here(self, topic="t"):
        return {key: [meta["n"] for meta in metas] for key, metas in self.tracker.on_topic(topic).items()}


def world(scenario, names="abc", seed=0):
    async def guarded():
        network = Network(seed)
        nodes = [Node(network, name) for name in names]
        await asyncio.sleep(1)
        await scenario(network, *nodes)
        for node in nodes:
            node.tracker.close()

    run_virtually(guarded())


def test_what_one_tracks_all_hear_of_soon():
    async def scenario(network, a, b, c):
        a.tracker.track("channel", "t", "ana", {"n": 1})
        assert a.here() == {"ana": [1]}, "at once here"
        await asyncio.sleep(0.2)
        assert b.here() == c.here() == {"ana": [1]}
        a.tracker.untrack("channel", "t", "ana")
        await asyncio.sleep(0.2)
        assert a.here() == b.here() == c.here() == {}
        assert a.seen == b.seen == c.seen == []

    world(scenario)


def test_an_update_is_one_change_of_both():
    async def scenario(network, a, b):
        a.tracker.track("channel", "t", "ana", {"n": 1})
        await asyncio.sleep(0.2)
        a.tracker.update("channel", "t", "ana", lambda meta: {"n": meta["n"] + 1})
        await asyncio.sleep(0.2)
        assert a.here() == b.here() == {"ana": [2]}
        assert [len(changes) for changes in a.diffs] == [len(changes) for changes in b.diffs] == [1, 2]

    world(scenario, "ab")


def test_wrong_use_is_an_error():
    async def scenario(network, a):
        a.tracker.track("channel", "t", "ana", {"n": 1})
        a.tracker.track("other", "t", "ana", {"n": 2})
        a.tracker.track("channel", "t2", "ana", {"n": 3})
        with pytest.raises(AlreadyTrackedError, match="'ana' is already tracked on 't'"):
            a.tracker.track("channel", "t", "ana", {"n": 4})
        with pytest.raises(NotTrackedError, match="'bo' is not tracked on 't'"):
            a.tracker.update("channel", "t", "bo", dict)
        a.tracker.untrack("channel", "t", "bo")
        a.tracker.untrack_all("channel")
        a.tracker.untrack_all("channel")
        assert a.here() == {"ana": [2]}
        assert a.tracker.of_key("t", "ana") == [{"n": 2}]
        assert a.tracker.of_key("t", "bo") == []

    world(scenario, "a")


def test_an_update_that_fails_changes_nothing():
    async def scenario(network, a):
        a.tracker.track("channel", "t", "ana", {"n": 1})
        with pytest.raises(ZeroDivisionError):
            a.tracker.update("channel", "t", "ana", lambda meta: {"n": 1 // 0})
        assert a.here() == {"ana": [1]}

    world(scenario, "a")


def test_a_newcomer_learns_who_is_there_without_waiting_for_a_heartbeat():
    async def scenario(network, a, b):
        for number in range(1_200):  # more than one message
            a.tracker.track(number, "t", str(number), {"n": number})
        await asyncio.sleep(5)
        c = Node(network, "c")
        await asyncio.sleep(0.3)
        assert c.here() == a.here()
        assert len(c.here()) == 1_200

    world(scenario, "ab")


def test_the_presences_of_a_silent_node_leave_and_come_back_as_they_are_then():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        a.tracker.track("two", "t", "bo", {"n": 2})
        await asyncio.sleep(1)
        network.cut_off("a")
        await asyncio.sleep(SETTINGS.down_seconds + 2)
        assert b.here() == {}
        a.tracker.untrack_all("one")
        b.tracker.track("three", "t", "cy", {"n": 3})
        told = len(b.diffs)
        network.heal()
        await asyncio.sleep(3)
        assert a.here() == b.here() == {"bo": [2], "cy": [3]}
        assert ["ana" for changes in b.diffs[told:] for change in changes if change.key == "ana"] == []

    world(scenario, "ab")


def test_a_node_reported_lost_that_does_not_answer_leaves_and_is_back_when_it_was_alive_after_all():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        network.cut_off("a")
        b.tracker.lost("a")
        b.tracker.lost("a")
        b.tracker.lost("stranger")
        await asyncio.sleep(ANSWER_SECONDS + 0.01)
        assert b.here() == {}
        network.heal()
        await asyncio.sleep(2 * SETTINGS.heartbeat_seconds)
        assert b.here() == {"ana": [1]}

    world(scenario, "ab")


def test_a_node_reported_lost_that_says_it_lives_does_not_leave():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        changes = len(b.diffs)
        b.tracker.lost("a")
        a.tracker.answer()
        await asyncio.sleep(2 * ANSWER_SECONDS)
        assert b.here() == {"ana": [1]}
        assert len(b.diffs) == changes

    world(scenario, "ab")


def test_a_node_that_has_just_woken_up_does_not_answer_for_channels_that_may_be_gone():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        a.tracker._last_beat -= 60  # it slept
        b.tracker.lost("a")
        a.tracker.answer()
        a.tracker._beat()
        a.tracker.answer()
        await asyncio.sleep(ANSWER_SECONDS + 0.01)
        assert b.here() == {}

    world(scenario, "ab")


def test_a_goodbye_leaves_nothing_behind():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        a.tracker.close()
        await asyncio.sleep(0.1)
        assert b.here() == {}
        assert b.tracker._state.replicas() == ["b"]

    world(scenario, "ab")


def test_a_node_silent_for_very_long_is_forgotten():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        network.cut_off("a")
        await asyncio.sleep(SETTINGS.permdown_seconds - 10)
        assert b.tracker._state.replicas() == ["b", "a"]
        await asyncio.sleep(20)
        assert b.tracker._state.replicas() == ["b"]
        network.heal()
        await asyncio.sleep(3)
        assert b.here() == {"ana": [1]}, "and welcome if it comes back all the same"

    world(scenario, "ab")


def test_who_was_frozen_neither_blames_the_others_nor_boasts():
    async def scenario(network, a, b):
        b.tracker.track("one", "t", "bo", {"n": 1})
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        loop._now += 60  # nobody ran: all timers are late
        network.cut_off("a")
        await asyncio.sleep(0.01)
        assert a.here() == {"bo": [1]}
        network.heal()
        await asyncio.sleep(3)
        assert a.here() == {"bo": [1]}

    world(scenario, "ab")


def test_garbage_is_counted_and_ignored():
    async def scenario(network, a, b):
        before = counters.value("bus_messages_malformed")
        for data in (b"", b"\xc1", b"\x90", b"\x94\x00\x63\x00\xc0", b"\x92\x00"):
            a.tracker.handle("b", data)
        assert counters.value("bus_messages_malformed") == before + 5

    world(scenario, "ab")


DEEP = msgspec.msgpack.decode(b"\x81\xa1a" + 900 * b"\x91" + b"\xc0")
UNUSABLE = [
    ("t", "bo", {"a": msgspec.msgpack.Ext(5, b"x")}),
    ("t", "bo", {"a": {"b": [msgspec.msgpack.Ext(5, b"x")]}}),
    ("t", "bo", {"a": b"bytes"}),
    ("t", "bo", {"a": float("nan")}),
    ("t", "bo", {"a": {1: 2}}),
    ("t", "bo", {"a": {None: 2}}),
    ("t", "bo", {"a": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}),
    ("t", "bo", DEEP),
    ("t", "bo", {"a": 30_000 * "x"}),
    ("t", 2_000 * "x", {}),
    ("$nodes", "bo", {}),
    (5_000 * "x", "bo", {}),
]


@pytest.mark.parametrize("entry", UNUSABLE, ids=range(len(UNUSABLE)))
@pytest.mark.parametrize("message", [Gossip, Transfer])
def test_what_others_cannot_be_shown_is_left_out_and_the_rest_is_not(entry, message):
    async def scenario(network, a):
        delta = Delta(0, 2, (Entry(1, *entry), Entry(2, "t", "ana", {"n": 2**64 - 1, "phx_ref": "r"})))
        before = counters.value("bus_messages_malformed")
        a.tracker.handle("b", messages.encode(Gossip(messages.VERSION, 0)))
        said = Transfer(delta) if message is Transfer else Gossip(messages.VERSION, 2, delta)
        a.tracker.handle("b", messages.encode(said))
        assert a.here() == {"ana": [2**64 - 1]}
        assert a.tracker._state.topics() == ["t"]
        assert counters.value("bus_messages_malformed") == before + 1
        a.tracker.handle("b", messages.encode(Gossip(messages.VERSION, 3, Delta(2, 3, removed=(1,)))))
        a.tracker.handle("b", messages.encode(Gossip(messages.VERSION, 4, Delta(3, 4, removed=(2,)))))
        assert a.here() == {}

    world(scenario, "a")


UNTELLABLE = [10**30, object(), "\ud800"]


@pytest.mark.parametrize("value", UNTELLABLE, ids=["integer", "object", "text"])
def test_an_entry_that_cannot_be_encoded_keeps_no_other_from_being_told(value, monkeypatch):
    lines = []
    monkeypatch.setattr(logs, "_sink", lambda *line: lines.append(line))
    monkeypatch.setattr(logs, "_gate", None)

    async def scenario(network, a, b):
        before = counters.value("presence_diffs_unencodable")
        a.tracker.track("one", "t", "ana", {"n": 1})
        a.tracker.track("two", "t", "bad", {"n": value})
        a.tracker.track("three", "t", "bo", {"n": 3})
        await asyncio.sleep(0.2)
        assert b.here() == {"ana": [1], "bo": [3]}
        c = Node(network, "c")  # which asks for everything
        a.tracker.update("one", "t", "ana", lambda meta: {"n": 4})
        await asyncio.sleep(3 * SETTINGS.down_seconds)
        assert b.here() == c.here() == {"ana": [4], "bo": [3]}
        a.tracker.untrack_all("two")
        await asyncio.sleep(0.2)
        assert a.here() == b.here() == {"ana": [4], "bo": [3]}
        assert counters.value("presence_diffs_unencodable") == before + 1
        c.tracker.close()

    world(scenario, "ab")
    said = [fields["key"] for _, _, event, fields in lines if "cannot be sent" in event]
    assert said == ["bad"]


def test_what_could_not_be_said_is_said_with_the_next_gossip_and_the_beats_go_on():
    async def scenario(network, a, b):
        publish, failing = a.tracker._publish, [True, True]

        def failing_twice(*message):
            if failing:
                failing.pop()
                raise RuntimeError("raised on request")
            publish(*message)

        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        a.tracker._publish = failing_twice
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(3 * SETTINGS.heartbeat_seconds)
        assert not failing
        assert b.here() == {"ana": [1]}
        await asyncio.sleep(3 * SETTINGS.down_seconds)
        assert b.here() == {"ana": [1]}

    world(scenario, "ab")


steps = st.lists(
    st.tuples(
        st.sampled_from(["track", "untrack", "update", "end", "cut", "heal", "wait", "lost", "stop"]),
        st.integers(0, 2),
        st.integers(0, 3),
        st.floats(0.01, 14),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(0, 2**32), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.3))
def test_replicas_converge_after_loss_cuts_and_silence(steps, seed, loss, doubling, delay):
    async def scenario(network, *nodes):
        network.loss, network.doubling, network.delay = loss, doubling, delay
        for number, (verb, who, what, seconds) in enumerate(steps):
            node, owner, key = nodes[who], f"owner{what % 2}", f"key{what}"
            owned = node.tracker._owned.get(owner, {})
            if verb == "track" and ("t", key) not in owned:
                node.tracker.track(owner, "t", key, {"n": number})
            elif verb == "update" and ("t", key) in owned:
                node.tracker.update(owner, "t", key, lambda _, number=number: {"n": number})
            elif verb == "untrack":
                node.tracker.untrack(owner, "t", key)
            elif verb == "end":
                node.tracker.untrack_all(owner)
            elif verb == "cut":
                network.cut_off("abc"[who])
            elif verb == "heal":
                network.cut.clear()
            elif verb == "lost":
                node.tracker.lost("abc"[what % 3])
            elif verb == "wait":
                await asyncio.sleep(seconds)
            elif verb == "stop":
                asyncio.get_running_loop()._now += seconds
        network.heal()
        await asyncio.sleep(4 * SETTINGS.heartbeat_seconds + 1)
        truth = sorted(
            (entry.topic, entry.key, entry.meta["n"])
            for node in nodes
            for entry in node.tracker._state.own()
        )
        for node in nodes:
            assert sorted(node.seen) == truth, "neither lost nor ghost"

    world(scenario, seed=seed)


def test_who_sends_garbage_again_and_again_is_logged_now_and_then(monkeypatch):
    lines = []
    monkeypatch.setattr(logs, "_sink", lambda *line: lines.append(line))
    monkeypatch.setattr(logs, "_gate", None)

    async def scenario(network, a):
        for _ in range(1_000):
            a.tracker.handle("who sends garbage", b"\xc1")
            a.tracker.handle("who sends bytes", messages.encode(
                Gossip(messages.VERSION, 1, Delta(0, 1, (Entry(1, "t", "ana", {"a": b"x"}),)))
            ))  # fmt: skip

    world(scenario, "a")
    said = [fields["origin"] for _, _, event, fields in lines if "dropped" in event]
    assert sorted(said) == ["who sends bytes"] * 4 + ["who sends garbage"] * 4
