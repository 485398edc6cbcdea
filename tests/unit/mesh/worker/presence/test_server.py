"""One Presence on one worker: what its metas may be, and what becomes of callbacks that do not end."""

import asyncio

import pytest

from mesh.app.presence import Presence
from mesh.errors import PayloadError
from mesh.settings import PresenceSettings
from mesh.telemetry import counters
from mesh.worker.presence.calls import CALLBACK_SECONDS
from mesh.worker.presence.server import PresenceServer, _refs
from tests.support.network import Network
from tests.support.virtual_time import run_virtually

TOPIC = "room:1"


class Node:
    """A presence on one worker, and the diffs it sent: (seconds, topic, keys that joined)."""

    def __init__(self, network, name, presence=None):
        self.diffs = []
        self.presence = presence or Presence()
        self.server = PresenceServer(
            self.presence, name, network.publish(name), PresenceSettings(), self._tell
        )
        self.presence.bind(self.server)
        network.trackers[name] = self.server.tracker
        self.server.tracker.start()

    def _tell(self, topic, event, diff):
        self.diffs.append((round(asyncio.get_running_loop().time(), 1), topic, diff["joins"]))

    def keys(self):
        return set(self.presence.list(TOPIC))


def run(scenario, *presences):
    async def guarded():
        network = Network()
        nodes = [Node(network, name, each) for name, each in zip("ab", presences, strict=False)]
        await scenario(*nodes)
        for node in nodes:
            node.server.close()

    run_virtually(guarded())


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [10**24, [{"n": -(2**63) - 1}], nested(600)], ids=["large", "small", "deep"]
)
def test_what_other_workers_cannot_be_told_is_an_error_where_it_is_tracked(value):
    async def scenario(a, b):
        a.presence.track("one", "ana", {"n": 1}, topic=TOPIC)
        with pytest.raises(PayloadError, match="that cannot be sent to other workers"):
            a.presence.track("two", "bo", {"n": value}, topic=TOPIC)
        with pytest.raises(PayloadError, match="that cannot be sent to other workers"):
            a.presence.update("one", "ana", {"n": value}, topic=TOPIC)
        a.presence.track("three", "cy", {"n": 2**64 - 1}, topic=TOPIC)
        await asyncio.sleep(1)
        assert a.keys() == b.keys() == {"ana", "cy"}

    run(scenario, Presence(), Presence())


POISON = 10**30


class Writing(Presence):
    """Writes into all that it is given."""

    def fetch(self, topic, presences):
        self._write(metas for each in presences.values() for metas in [each["metas"]])
        return presences

    def handle_metas(self, topic, diff, presences):
        self._write(presences.values())

    def _write(self, lists):
        for metas in lists:
            for meta in metas:
                meta["n"] = POISON
                meta["deep"]["list"].append(POISON)
            metas.append(POISON)


def test_what_an_application_writes_into_metas_it_is_given_stays_there():
    async def scenario(a, b):
        def write(old):
            old["deep"]["list"].append(POISON)
            return {"n": 2, "deep": {"list": []}}

        a.presence.track("one", "ana", {"n": 1, "deep": {"list": []}}, topic=TOPIC)
        a.presence.update("one", "ana", write, topic=TOPIC)
        a.presence.list(TOPIC)
        a.presence.get_by_key(TOPIC, "ana")
        await asyncio.sleep(1)
        ((_, _, own),) = a.server.tracker.tracked("one")
        assert (own["n"], own["deep"]) == (2, {"list": []})
        ((meta,),) = b.server.tracker.get_by_topic(TOPIC).values()
        assert meta == own
        a.presence.untrack("one", "ana", topic=TOPIC)
        await asyncio.sleep(1)
        assert a.keys() == b.keys() == set()

    run(scenario, Writing(), Presence())


class Hanging(Presence):
    """Its callbacks do not end for one topic; a deaf one does not end when it is cancelled either."""

    def __init__(self, callback, deaf):
        super().__init__()
        self.callback = callback
        self.deaf = deaf
        self.cancelled = 0

    async def fetch(self, topic, presences):
        if self.callback == "fetch":
            await self._hang(topic)
        return presences

    async def handle_metas(self, topic, diff, presences):
        if self.callback == "handle_metas":
            await self._hang(topic)

    async def _hang(self, topic):
        for _ in range(2 if topic == "room:hangs" else 0):
            try:
                await asyncio.sleep(10_000)
            except asyncio.CancelledError:
                self.cancelled += 1
                if not (self.deaf and self.cancelled == 1):
                    raise


@pytest.mark.parametrize("callback", ["fetch", "handle_metas"])
@pytest.mark.parametrize("deaf", [False, True])
def test_a_callback_that_does_not_end_costs_its_call_only(callback, deaf, log_lines):
    async def scenario(node):
        before = counters.value("presence_callbacks_failed")
        node.presence.track("one", "ana", topic="room:hangs")
        node.presence.track("two", "bo", topic=TOPIC)
        await asyncio.sleep(CALLBACK_SECONDS - 1)
        assert [topic for _, topic, _ in node.diffs] == ["room:hangs"] * (callback == "handle_metas")
        await asyncio.sleep(2)
        assert [(topic, set(joins)) for _, topic, joins in node.diffs] == [
            ("room:hangs", {"ana"}),
            (TOPIC, {"bo"}),
        ]
        assert counters.value("presence_callbacks_failed") == before + 1
        assert node.presence.cancelled == 1
        assert not node.server.busy

    run(scenario, Hanging(callback, deaf))
    ((callback_named, error),) = [
        (fields["callback"], fields["exc_info"])
        for _, _, event, fields in log_lines
        if "callback failed" in event
    ]
    assert callback_named == callback
    assert "took over 30 s" in str(error)


def test_the_end_of_a_worker_ends_a_callback_under_way():
    presence = Hanging("fetch", deaf=False)

    async def scenario(node):
        node.presence.track("one", "ana", topic="room:hangs")
        await asyncio.sleep(1)
        node.server.close()
        await asyncio.sleep(0.1)
        assert presence.cancelled == 1
        assert node.diffs == []
        node.server.presence.bind(node.server)

    run(scenario, presence)


def test_refs_are_not_used_again_when_the_clock_is_set_back(monkeypatch):
    monkeypatch.setattr("mesh.worker.presence.server.time_ns", lambda: 1_000)
    refs = _refs("node")
    made = [next(refs) for _ in range(70_000)]
    assert len(set(made)) == len(made)
