"""Which of the changes within one window are told, whatever order a client applies a diff in."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.app.presence import Presence
from mesh.settings import PresenceSettings
from mesh.tracker.state import Change
from mesh.worker.presence.server import PresenceServer
from mesh.worker.presence.window import DiffWindow
from tests.support.network import Network
from tests.support.virtual_time import run_virtually

TOPIC = "room:1"


def came(ref, key="ana"):
    return Change(True, TOPIC, key, {"phx_ref": ref})


def went(ref, key="ana"):
    return Change(False, TOPIC, key, {"phx_ref": ref})


READ = "read"


@pytest.mark.parametrize(
    ("happened", "told"),
    [
        ([came("1")], [came("1")]),
        ([came("1"), went("1")], []),
        ([came("1"), READ, went("1")], [went("1")]),
        ([READ, came("1"), went("1"), READ], []),
        ([went("1"), came("1")], []),
        ([went("1"), READ, came("1")], [came("1")]),
        ([came("1"), went("1"), came("2"), went("2"), came("3")], [came("3")]),
        ([went("0"), came("1"), went("1"), came("2")], [went("0"), came("2")]),
        ([went("0"), came("0"), went("0")], [went("0")]),
        ([came("1", "ana"), came("1", "bo"), went("1", "ana")], [came("1", "bo")]),
        ([came("1"), went("1"), came("1"), READ, went("1")], [went("1")]),
        ([came(None), went(None)], [came(None), went(None)]),
        ([came(["no ref"]), went(["no ref"])], [came(["no ref"]), went(["no ref"])]),
    ],
)
def test_what_is_told(happened, told):
    window = DiffWindow()
    for each in happened:
        if each is READ:
            window.read()
        else:
            window.add([each])
    assert window.net() == told


# Clients, who are told by servers on several nodes


class Client:
    """Knows a state from the list, and diffs; applies joins or leaves first."""

    def __init__(self, state, joins_first):
        self.metas = {key: {meta["phx_ref"] for meta in each["metas"]} for key, each in state.items()}
        self.order = ("joins", "leaves") if joins_first else ("leaves", "joins")

    def take(self, diff):
        for kind in self.order:
            for key, each in diff[kind].items():
                refs = {meta["phx_ref"] for meta in each["metas"]}
                here = self.metas.setdefault(key, set())
                here |= refs
                if kind == "leaves":
                    here -= refs
                if not here:
                    del self.metas[key]


class Node:
    """A presence on one worker and the clients there."""

    def __init__(self, network, name, presence=None):
        self.clients = []
        self.diffs = []
        self.presence = presence or Presence()
        options = PresenceSettings(diff_seconds=0.5, heartbeat_seconds=1, down_seconds=4)
        self.server = PresenceServer(self.presence, name, network.publish(name), options, self._tell)
        self.presence.bind(self.server)
        network.trackers[name] = self.server.tracker
        self.server.tracker.start()

    def _tell(self, topic, event, diff):
        self.diffs.append(diff)
        for client in self.clients:
            client.take(diff)

    def join(self):
        state = {key: {"metas": metas} for key, metas in self.server.get_by_topic(TOPIC).items()}
        self.clients += [Client(state, True), Client(state, False)]

    def truth(self):
        listed = self.server.tracker.get_by_topic(TOPIC)
        return {key: {meta["phx_ref"] for meta in metas} for key, metas in listed.items()}


class Slow(Presence):
    """`fetch` takes longer than a window, or less."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance

    async def fetch(self, topic, presences):
        await asyncio.sleep(self.chance.choice((0, 0.1, 0.7, 2.0)))
        return presences


def story(seed, slow=False):
    """Random changes on three nodes, cut by windows, with clients that join, nodes that are lost sight of."""

    async def scenario():
        chance = random.Random(seed)
        network = Network(seed)
        nodes = [Node(network, name, Slow(chance) if slow else None) for name in "abc"]
        await asyncio.sleep(2)
        for node in nodes:
            node.join()
        tracked, refs = set(), []
        for _ in range(chance.randrange(5, 60)):
            index, owner, key = chance.randrange(3), chance.randrange(2), chance.choice("xyz")
            node, entry = nodes[index], (index, owner, key)
            match chance.randrange(8):
                case 0 | 1 if entry not in tracked:
                    refs.append(node.presence.track(owner, key, {}, topic=TOPIC))
                    tracked.add(entry)
                case 2 | 3 if entry in tracked:
                    refs.append(node.presence.update(owner, key, {"n": 1}, topic=TOPIC))
                case 4 if entry in tracked:
                    node.presence.untrack(owner, key, topic=TOPIC)
                    tracked.discard(entry)
                case 5 if chance.random() < 0.5:
                    node.join()
                case 6 if chance.random() < 0.3:  # gone after 0.2 s, back with its next word: in one window
                    node.server.tracker.lost(chance.choice("abc"))
                case _:
                    await asyncio.sleep(chance.choice((0, 0.05, 0.2, 0.3, 0.6)))
        await asyncio.sleep(30 if slow else 10)
        assert len(refs) == len(set(refs))
        expected = {key for _, _, key in tracked}
        for node in nodes:
            truth = node.truth()
            assert set(truth) == expected
            for client in node.clients:
                assert client.metas == truth, (seed, client.order)
            for diff in node.diffs:
                joined, left = (_refs_of(diff[kind]) for kind in ("joins", "leaves"))
                assert not joined & left, seed
        network.trackers.clear()  # nobody hears the goodbyes
        for node in nodes:
            node.server.close()

    run_virtually(scenario())


def _refs_of(entries):
    return {(key, meta["phx_ref"]) for key, each in entries.items() for meta in each["metas"]}


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 1_000_000), st.booleans())
def test_whichever_a_client_applies_first_it_ends_in_the_true_state(seed, slow):
    story(seed, slow)


def test_while_fetch_is_slower_than_the_window_one_diff_waits():
    class Database(Presence):
        async def fetch(self, topic, presences):
            await asyncio.sleep(3.0)
            return presences

    async def scenario():
        node = Node(Network(), "a", Database())
        node.join()
        for number in range(1_000):
            node.presence.track(number, "ana", topic=TOPIC)
            await asyncio.sleep(0.1)
            if number % 100:
                node.presence.untrack(number, "ana", topic=TOPIC)
            assert len(node.server._diffs) <= 1
            assert len(node.server._windows[TOPIC]) <= 70
        await asyncio.sleep(15.0)
        assert not node.server.busy
        assert [client.metas for client in node.clients] == [node.truth()] * 2
        assert len(node.truth()["ana"]) == 10
        node.server.close()

    run_virtually(scenario())


@pytest.mark.parametrize("error", [asyncio.CancelledError, ValueError])
def test_diffs_go_on_after_one_that_was_lost(error):
    class Cancelled(Presence):
        times = 0

        async def fetch(self, topic, presences):
            self.times += 1
            await asyncio.sleep(1.0)
            if self.times == 1:
                raise error
            return presences

    async def scenario():
        node = Node(Network(), "a", Cancelled())
        for topic in ("room:2", "room:3", TOPIC):
            node.presence.track(topic, "ana", topic=topic)
        await asyncio.sleep(10.0)
        assert len(node.diffs) == 3
        node.presence.track("other", "bo", topic="room:2")
        await asyncio.sleep(10.0)
        assert len(node.diffs) == 4
        node.server.close()

    run_virtually(scenario())


def test_an_error_of_ours_costs_one_diff():
    async def scenario():
        node = Node(Network(), "a")
        tell, node.server._local_broadcast = node.server._local_broadcast, None
        node.presence.track("me", "ana", topic=TOPIC)
        node.server._local_broadcast = tell
        node.presence.track("me", "bo", topic=TOPIC)
        await asyncio.sleep(10.0)
        assert [set(diff["joins"]) for diff in node.diffs] == [{"bo"}]
        node.server.close()

    run_virtually(scenario())


def test_who_comes_and_goes_unseen_takes_no_room():
    window = DiffWindow()
    for number in range(1_000):
        window.add([came(str(number))])
        if number % 10 == 0:
            window.read()
        window.add([went(str(number))])
    assert len(window) == 100


def test_a_track_an_update_and_an_untrack_within_a_window_are_not_told():
    async def scenario():
        node = Node(Network(), "a")
        node.join()
        node.presence.track("other", "bo", topic=TOPIC)  # opens the window
        node.presence.track("me", "ana", topic=TOPIC)
        node.presence.update("me", "ana", {"n": 1}, topic=TOPIC)
        node.presence.untrack("me", "ana", topic=TOPIC)
        ref = node.presence.track("me", "ana", topic=TOPIC)
        await asyncio.sleep(1)
        assert len(node.diffs) == 2
        assert _refs_of(node.diffs[1]["joins"]) == {("ana", ref)}
        assert node.diffs[1]["leaves"] == {}
        node.presence.track("other", "cy", topic=TOPIC)
        node.presence.untrack("me", "ana", topic=TOPIC)
        node.presence.track("me", "ana", topic=TOPIC)
        node.presence.untrack("me", "ana", topic=TOPIC)
        await asyncio.sleep(1)
        assert len(node.diffs) == 4
        assert node.diffs[3] == {"joins": {}, "leaves": {"ana": {"metas": [{"phx_ref": ref}]}}}
        node.server.close()

    run_virtually(scenario())


@pytest.mark.parametrize("ends", ["update", "untrack", "untrack_all"])
def test_a_presence_that_changes_at_once_after_its_move_is_taken_over(ends):
    async def scenario():
        network = Network()
        old, new = Node(network, "a"), Node(network, "b")
        old.presence.track("me", "ana", topic=TOPIC)
        await asyncio.sleep(2)
        old.join()
        new.join()
        ((_, _, meta),) = old.server.tracked("me")
        old.server.move_out("me")
        new.server.move_in("me", TOPIC, "ana", meta)
        if ends == "update":
            new.presence.update("me", "ana", {"n": 1}, topic=TOPIC)
        else:
            new.presence.untrack("me", "ana" if ends == "untrack" else None, topic=TOPIC)
        await asyncio.sleep(2)
        assert old.server.all_taken_over
        truth = new.truth()
        assert len(truth.get("ana", ())) == (ends == "update")
        assert old.truth() == truth
        assert [client.metas for client in old.clients + new.clients] == [truth] * 4
        network.trackers.clear()
        for node in (old, new):
            node.server.close()

    run_virtually(scenario())


def test_a_client_that_moves_within_a_window_is_told_first():
    async def scenario():
        network = Network()
        old, new = Node(network, "a"), Node(network, "b")
        await asyncio.sleep(2)
        old.join()
        old.server.flush(TOPIC)
        old.presence.track("1", "ana", topic=TOPIC)
        await asyncio.sleep(0.05)
        old.presence.track("2", "bo", topic=TOPIC)
        await asyncio.sleep(0.15)
        assert [set(diff["joins"]) for diff in new.diffs] == [{"ana", "bo"}], "told before the client comes"
        old.server.flush(TOPIC)
        old.server.flush(TOPIC)
        assert len(old.diffs) == 2
        new.clients, old.clients = old.clients, []
        await asyncio.sleep(2)
        assert [client.metas for client in new.clients] == [new.truth()] * 2
        assert len(old.diffs) == 2
        old.presence.untrack("1", "ana", topic=TOPIC)
        assert len(old.diffs) == 3
        network.trackers.clear()
        for node in (old, new):
            node.server.close()

    run_virtually(scenario())


def test_one_message_of_a_tracker_that_uses_a_ref_again_causes_no_contradiction():
    async def scenario():
        node = Node(Network(), "a")
        node.server._changed([came("1")])
        await asyncio.sleep(2)
        node.server._changed([went("1"), came("1"), came("2"), went("2"), came("3")])
        await asyncio.sleep(2)
        node.server._changed([came("4"), went("4")])
        await asyncio.sleep(2)
        assert [_refs_of(diff["joins"]) for diff in node.diffs] == [{("ana", "1")}, {("ana", "3")}]
        assert not any(diff["leaves"] for diff in node.diffs)
        node.server.close()

    run_virtually(scenario())
