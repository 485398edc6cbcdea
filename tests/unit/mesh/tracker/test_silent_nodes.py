"""Nodes that fall silent, are reported lost, freeze or stop, and come back."""

import asyncio

from mesh.tracker.tracker import ANSWER_SECONDS
from tests.unit.mesh.tracker.nodes import SETTINGS, freeze, world


def replicas_known_to(node):
    # Private: whether a replica is forgotten or only hidden shows in memory and nowhere else.
    return node.tracker._state.replicas()


def test_the_presences_of_a_silent_node_leave_and_return_in_their_current_state():
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


def test_the_presences_of_a_lost_node_leave_and_return_with_it():
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


def test_the_presences_of_a_node_that_answers_a_loss_report_stay():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        changes = len(b.diffs)
        b.tracker.lost("a")
        a.tracker.refute_loss()
        await asyncio.sleep(2 * ANSWER_SECONDS)
        assert b.here() == {"ana": [1]}
        assert len(b.diffs) == changes

    world(scenario, "ab")


def test_a_node_that_was_just_frozen_does_not_answer_a_loss_report():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        freeze(60)
        b.tracker.lost("a")
        a.tracker.refute_loss()
        await asyncio.sleep(0.01)  # the late heartbeats
        a.tracker.refute_loss()
        await asyncio.sleep(ANSWER_SECONDS + 0.01)
        assert b.here() == {}

    world(scenario, "ab")


def test_a_node_that_stops_is_forgotten_at_once():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        a.tracker.close()
        await asyncio.sleep(0.1)
        assert b.here() == {}
        assert replicas_known_to(b) == ["b"]

    world(scenario, "ab")


def test_a_node_silent_beyond_permdown_is_forgotten():
    async def scenario(network, a, b):
        a.tracker.track("one", "t", "ana", {"n": 1})
        await asyncio.sleep(1)
        network.cut_off("a")
        await asyncio.sleep(SETTINGS.permdown_seconds - 10)
        assert replicas_known_to(b) == ["b", "a"]
        await asyncio.sleep(20)
        assert replicas_known_to(b) == ["b"]
        network.heal()
        await asyncio.sleep(3)
        assert b.here() == {"ana": [1]}, "it may still return"

    world(scenario, "ab")


def test_a_node_that_was_frozen_keeps_the_presences_of_others():
    async def scenario(network, a, b):
        b.tracker.track("one", "t", "bo", {"n": 1})
        await asyncio.sleep(1)
        freeze(60)
        network.cut_off("a")
        await asyncio.sleep(0.01)
        assert a.here() == {"bo": [1]}
        network.heal()
        await asyncio.sleep(3)
        assert a.here() == {"bo": [1]}

    world(scenario, "ab")
