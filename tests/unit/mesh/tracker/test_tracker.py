"""Trackers of several nodes: tracking, updates, and convergence under loss."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import AlreadyTrackedError, NotTrackedError
from tests.unit.mesh.tracker.nodes import SETTINGS, Node, freeze, world


def test_a_tracked_key_reaches_every_node():
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


def test_an_update_is_one_leave_and_one_join_in_one_diff():
    async def scenario(network, a, b):
        a.tracker.track("channel", "t", "ana", {"n": 1})
        await asyncio.sleep(0.2)
        a.tracker.update("channel", "t", "ana", lambda meta: {"n": meta["n"] + 1})
        await asyncio.sleep(0.2)
        assert a.here() == b.here() == {"ana": [2]}
        assert [len(changes) for changes in a.diffs] == [len(changes) for changes in b.diffs] == [1, 2]

    world(scenario, "ab")


def test_tracking_twice_and_updating_an_unknown_key_are_errors():
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
        assert a.tracker.get_by_key("t", "ana") == [{"n": 2}]
        assert a.tracker.get_by_key("t", "bo") == []

    world(scenario, "a")


def test_an_update_that_fails_changes_nothing():
    async def scenario(network, a):
        a.tracker.track("channel", "t", "ana", {"n": 1})
        with pytest.raises(ZeroDivisionError):
            a.tracker.update("channel", "t", "ana", lambda meta: {"n": 1 // 0})
        assert a.here() == {"ana": [1]}

    world(scenario, "a")


def test_a_new_node_receives_all_presences_before_the_next_heartbeat():
    async def scenario(network, a, b):
        for number in range(1_200):  # more than one message
            a.tracker.track(number, "t", str(number), {"n": number})
        await asyncio.sleep(5)
        c = Node(network, "c")
        await asyncio.sleep(0.3)
        assert c.here() == a.here()
        assert len(c.here()) == 1_200

    world(scenario, "ab")


def test_gossip_that_failed_to_send_is_sent_with_the_next_heartbeat():
    async def scenario(network, a, b):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        a.failures = 2
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(3 * SETTINGS.heartbeat_seconds)
        assert a.failures == 0
        assert b.here() == {"ana": [1]}
        await asyncio.sleep(3 * SETTINGS.down_seconds)
        assert b.here() == {"ana": [1]}

    world(scenario, "ab")


OWNERS = ("owner0", "owner1")


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
            node, owner, key = nodes[who], OWNERS[what % 2], f"key{what}"
            owned = {(topic, key) for topic, key, _ in node.tracker.tracked(owner)}
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
                freeze(seconds)
        network.heal()
        await asyncio.sleep(4 * SETTINGS.heartbeat_seconds + 1)
        truth = sorted(
            (topic, key, meta["n"])
            for node in nodes
            for owner in OWNERS
            for topic, key, meta in node.tracker.tracked(owner)
        )
        for node in nodes:
            assert sorted(node.seen) == truth, "neither lost nor ghost"

    world(scenario, seed=seed)
