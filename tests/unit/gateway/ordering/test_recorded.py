"""Kept broadcasts come twice: what a gateway ignores, and what waits for the recorded ones."""

import asyncio

from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import DIRECT, VERSION, Received
from mesh.link.commands import Joined, Pushed
from mesh.protocol.messages import JSON, Sender
from mesh.telemetry import counters
from tests.support import hub
from tests.support.hub import WORKER
from tests.support.recorded import ELSEWHERE, Gateway, scenario
from tests.support.until import until

RECORDER = "recorder"


def events(gateway):
    return [event for _, event in gateway.heard()]


def joined(gateway, **other):
    gateway.join(**other)
    gateway.heard()


def pushed(gateway, event, after):
    gateway.hear(Pushed(1, after, event, JSON, b"{}"))


def record_original(gateway, offset, sequence, event="e", **other):
    """The recorder is another worker than the channel's."""
    gateway.record(offset, event, recorder=RECORDER, origin=WORKER, sequence=sequence, **other)


@scenario
def test_an_original_is_ignored_if_it_comes_again_recorded(gateway):
    joined(gateway)
    gateway.original(1, "kept")
    gateway.original(2, "typing")
    gateway.original(3, "presence_diff")
    gateway.hub.local_broadcast("room:1", "local", {})
    gateway.hub.on_broadcast("room:1", Received(VERSION, DIRECT, ELSEWHERE, 4, "direct", JSON), b"{}")
    gateway.record(1, "kept", origin=ELSEWHERE, sequence=1)
    assert events(gateway) == ["typing", "presence_diff", "local", "direct", "kept"]


@scenario
def test_claims_doubles_and_what_an_earlier_recorder_says_are_not_delivered(gateway):
    joined(gateway)
    before = counters.value("history_broadcasts_stale")
    gateway.claim(0)
    gateway.record(1, "a")
    gateway.record(1, "a again")
    gateway.claim(1, term=2, recorder="x")
    gateway.record(2, "stale")
    gateway.record(2, "b", term=2, recorder="x")
    assert events(gateway) == ["a", "b"]
    assert counters.value("history_broadcasts_stale") == before + 1
    counts = gateway.hub.fanout.routes["room:*"]
    assert counts.expected == counts.delivered == 2


@scenario
def test_since_is_compared_with_the_original(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    record_original(gateway, 1, 4, "before")
    gateway.record(2, "foreign", recorder=RECORDER, origin=ELSEWHERE, sequence=4)
    record_original(gateway, 3, 6, "after")
    gateway.join(since=5)
    assert events(gateway) == ["phx_reply", "foreign", "after"]


@scenario
def test_the_sender_of_a_recorded_broadcast_from_is_skipped(gateway):
    joined(gateway)
    record_original(gateway, 1, 1, sender=Sender("g", 1, True))
    record_original(gateway, 2, 2, sender=Sender("another gateway", 1, True))
    assert len(gateway.heard()) == 1


@scenario
def test_behind_counts_the_commands_of_the_worker_that_made_the_original(gateway):
    joined(gateway)  # its first command
    record_original(gateway, 1, 1, "third", sender=Sender("g", 1, False, 2))
    pushed(gateway, "second", 0)
    assert events(gateway) == ["second", "third"]


@scenario
def test_a_command_waits_for_the_recorded_broadcast_and_not_for_the_original(gateway):
    joined(gateway)
    gateway.original(7, origin=WORKER)
    pushed(gateway, "reply", 7)
    assert events(gateway) == []
    record_original(gateway, 1, 7)
    assert events(gateway) == ["e", "reply"]
    pushed(gateway, "another", 7)
    assert events(gateway) == ["another"]


@scenario
def test_a_broadcast_that_is_not_kept_does_not_release_what_waits_for_a_recorded_one(gateway):
    joined(gateway)
    gateway.original(7, origin=WORKER)
    gateway.broadcast(8, "typing")
    pushed(gateway, "reply", 8)
    gateway.broadcast(9, "typing")
    assert events(gateway) == ["typing", "typing"]
    record_original(gateway, 1, 7)
    assert events(gateway) == ["e", "reply"]


@scenario
def test_a_later_original_is_not_waited_for(gateway):
    joined(gateway)
    gateway.original(7, origin=WORKER)
    gateway.original(9, origin=WORKER)
    pushed(gateway, "reply to 7", 7)
    record_original(gateway, 1, 7)
    assert events(gateway) == ["e", "reply to 7"]
    pushed(gateway, "late reply to 7", 7)
    pushed(gateway, "reply to 9", 9)
    assert events(gateway) == ["late reply to 7"]
    record_original(gateway, 2, 9)
    assert events(gateway) == ["e", "reply to 9"]


@scenario
def test_what_the_recorder_itself_makes_is_waited_for_as_any_broadcast(gateway):
    joined(gateway)
    pushed(gateway, "reply", 7)
    gateway.record(1, number=7)
    assert events(gateway) == ["e", "reply"]


@scenario
def test_a_stale_recording_releases_nothing(gateway):
    joined(gateway)
    gateway.claim(0, term=2, recorder="x")
    gateway.original(7, origin=WORKER)
    pushed(gateway, "reply", 7)
    record_original(gateway, 1, 7)
    assert events(gateway) == []
    gateway.record(1, term=2, recorder="x", origin=WORKER, sequence=7)
    assert events(gateway) == ["e", "reply"]


@scenario
def test_a_worker_that_is_gone_is_waited_for_no_longer(gateway):
    joined(gateway)
    gateway.original(7, origin=WORKER)
    pushed(gateway, "reply", 7)
    gateway.hub.on_lost(WORKER, True)
    assert events(gateway) == ["reply", "phx_error"]
    assert not gateway.hub._ordering._unrecorded


@scenario
def test_a_topic_without_members_is_forgotten(gateway):
    joined(gateway)
    gateway.original(7, origin=WORKER)
    gateway.hub.disconnected(gateway.client, "closed")
    gateway.original(8, origin=WORKER)
    assert not gateway.hub._ordering._unrecorded


@scenario
def test_only_origins_with_a_link_are_remembered(gateway):
    joined(gateway)
    gateway.original(7)
    assert not gateway.hub._ordering._unrecorded


def test_a_recording_that_never_comes_delays_a_command_once_and_for_a_bounded_time():
    async def main():
        gateway = Gateway(hold_seconds=0.01)
        joined(gateway)
        before = counters.value("hold_timeouts")
        gateway.original(7, origin=WORKER)
        pushed(gateway, "first", 7)
        await until(lambda: gateway.client.outbox)
        pushed(gateway, "second", 7)
        assert events(gateway) == ["first", "second"]
        gateway.broadcast(8, "typing")
        pushed(gateway, "third", 8)
        assert events(gateway) == ["typing", "third"]
        assert counters.value("hold_timeouts") == before + 1

    asyncio.run(main())


def test_without_a_history_here_what_another_node_keeps_is_delivered_once():
    """During an upgrade; the recorder's own broadcasts come only recorded."""

    async def main():
        gateway = hub.Gateway()
        plain = Gateway.original, Gateway.record
        gateway.say("1", "1", "room:1", "phx_join", {})
        gateway.hear(Joined(1, (), 0, JSON, b"{}"))
        gateway.client.outbox.clear()
        plain[0](gateway, 7, "foreign")
        plain[1](gateway, 1, "foreign", origin=ELSEWHERE, sequence=7)
        plain[1](gateway, 2, "own")
        assert gateway.events() == ["foreign", "own"]

    asyncio.run(main())


@scenario
def test_what_no_worker_has_recorded_hurts_nobody(gateway):
    gateway.hub.recorders.announced(
        Announcement(node=WORKER, kind="worker", history=(("/socket", "room:*"),))
    )
    joined(gateway)
    gateway.record(1, "a")
    before = counters.value("history_broadcasts_stale")
    for offset, term in ((2**53, 2**53), (1, 2**53), (2, 5), (0, 0)):
        gateway.record(offset, "forged", term=term, recorder="nobody", epoch="x" * 12)
        gateway.claim(offset, term=term, recorder="nobody")
    gateway.record(2, "b")
    assert events(gateway) == ["a", "b"]
    assert counters.value("history_broadcasts_stale") == before + 8
