"""gateway/channels/session.py: pending and repeated joins, and messages held for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.channels.actions import Deliver, Drop, Forward, Pause, Resume, Send, SubscribeThenJoin
from mesh.gateway.channels.answers import UNAVAILABLE
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import Event
from mesh.link import commands
from mesh.protocol.messages import JSON
from tests.support.gateway_channels import place
from tests.unit.gateway.channels.session_events import (
    UNMATCHED,
    accept,
    join,
    kinds,
    make,
    refuse,
    reply,
    say,
    sent,
)


def test_a_second_join_waits_for_the_first_channel_to_end_and_closes_it_after_the_reply():
    session = make()
    old = join(session, ref="1")
    assert say(session, "2", "2", "room:1", "phx_join", {}) == [Forward(old, commands.Replace(old.number))]
    drop, start = session.advance(old, Event.CLOSED)
    assert (drop, type(start)) == (Drop(old), SubscribeThenJoin)
    assert sent(accept(session, start.channel)) == [
        reply("2", "2", "room:1", "ok", {}),
        ["1", "1", "room:1", "phx_close", {}],
    ]


def test_a_refused_second_join_still_ends_the_first_channel():
    session = make()
    old = join(session, ref="1")
    say(session, "2", "2", "room:1", "phx_join", {})
    _, start = session.advance(old, Event.CLOSED)
    actions = refuse(session, start.channel, b"{}")
    assert sent(actions) == [
        reply("2", "2", "room:1", "error", {}),
        ["1", "1", "room:1", "phx_close", {}],
    ]
    assert session.channels == {}


def test_a_second_join_of_a_channel_whose_worker_died_starts_at_once():
    session = make()
    old = join(session, ref="1")
    say(session, "2", "2", "room:1", "phx_join", {})
    drop, start = session.advance(old, Event.WORKER_LOST)
    assert (drop, type(start)) == (Drop(old), SubscribeThenJoin)


def test_messages_during_a_pending_join_are_handled_after_it_in_order():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    assert say(session, "1", "2", "room:1", "a", {}) == []
    assert say(session, "1", "3", "room:1", "b", {}) == []
    assert say(session, None, "4", "phoenix", "heartbeat", {}) != []
    actions = accept(session, start.channel)
    assert kinds(actions) == [Send, Deliver, Forward, Forward]
    assert [each.command.event for each in actions[2:]] == ["a", "b"]


def test_messages_held_for_a_refused_join_are_unmatched():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    say(session, "1", "2", "room:1", "a", {})
    say(session, "1", "3", "room:1", "phx_leave", {})
    actions = refuse(session, start.channel, b"{}")
    assert sent(actions)[1:] == [
        reply(None, "2", "room:1", "error", UNMATCHED),
        reply("1", "3", "room:1", "ok", {}),
    ]


def test_join_leave_join_ends_with_the_last_join():
    session = make()
    (first,) = say(session, "1", "1", "room:1", "phx_join", {})
    assert say(session, "1", "2", "room:1", "phx_leave", {}) == []
    assert say(session, "3", "3", "room:1", "phx_join", {}) == []
    actions = accept(session, first.channel)
    assert kinds(actions) == [Send, Deliver, Forward, Forward]
    assert actions[2].command == commands.Leave(1, "2")
    assert actions[3].command == commands.Replace(1)
    _, second = session.advance(first.channel, Event.CLOSED)
    accept(session, second.channel)
    assert session.channels["room:1"].join_ref == "3"
    assert say(session, "3", "4", "room:1", "echo", {})[0].channel is second.channel


def test_reading_pauses_while_too_much_is_held_for_a_join():
    session = make(max_pending_bytes=1000)
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    seen = []
    for ref in range(2, 14):
        seen += say(session, "1", str(ref), "room:1", "a", {})
    assert seen == [Pause()]
    actions = accept(session, start.channel)
    assert actions[-1] == Resume()
    assert len([each for each in actions if isinstance(each, Forward)]) == 12


def test_a_channel_that_ends_before_its_join_is_answered_refuses_the_join_and_releases_held_messages():
    for end in (Event.CRASHED, Event.CLOSED):
        session = make(max_pending_bytes=200)
        (start,) = say(session, "1", "1", "room:1", "phx_join", {})
        assert [*say(session, "1", "2", "room:1", "a", {}), *say(session, "1", "3", "room:1", "b", {})] == [
            Pause()
        ]
        place(start.channel)
        actions = session.advance(start.channel, end)
        assert sent(actions) == [
            reply("1", "1", "room:1", "error", {"reason": "join crashed"}),
            reply(None, "2", "room:1", "error", UNMATCHED),
            reply(None, "3", "room:1", "error", UNMATCHED),
        ]
        assert actions[-1] == Resume()
        assert session.channels == {}


def test_a_lost_worker_restarts_its_pending_joins_and_crashes_its_joined_channels():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    place(start.channel)
    assert session.advance(start.channel, Event.WORKER_LOST) == [SubscribeThenJoin(start.channel)]
    accept(session, start.channel)
    assert sent(session.advance(start.channel, Event.WORKER_LOST)) == [
        ["1", "1", "room:1", "phx_error", {"reason": "channel_crash"}]
    ]


def test_a_join_that_no_worker_takes_is_refused_as_unavailable():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    assert sent(session.advance(start.channel, Event.UNAVAILABLE, JSON, UNAVAILABLE)) == [
        reply("1", "1", "room:1", "error", {"reason": "unavailable"})
    ]


def test_held_events_count_toward_the_pending_bytes():
    session = make(max_pending_bytes=10_000)
    say(session, "1", "1", "room:1", "phx_join", {})
    paused = [say(session, "1", str(each), "room:1", "e" * 4_000, {}) for each in range(3)]
    assert [kinds(actions) for actions in paused] == [[], [], [Pause]]


@pytest.mark.parametrize("event", ["e" * 900_000, ["e" * 900_000]])
def test_an_event_that_is_too_long_is_not_held_for_a_pending_join(event):
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    long = say(session, "1", "2", "room:1", event, {})
    assert sent(long) == [reply("1", "2", "room:1", "error", {"reason": "event too long"})]
    assert not start.channel.pending.messages


REFS = st.sampled_from([None, "1", "2", "3"])


CLIENT = st.tuples(
    st.just("client"), REFS, st.sampled_from(["room:1", "room:2"]),
    st.sampled_from(["phx_join", "phx_leave", "echo"]),
)  # fmt: skip


ENDS = {"closed": Event.CLOSED, "crashed": Event.CRASHED, "lost": Event.WORKER_LOST}


WORKER = st.tuples(st.sampled_from(["joined", "refused", "closed", "crashed", "lost"]), st.integers(0, 20))


@given(st.lists(st.one_of(CLIENT, WORKER), max_size=40))
def test_events_in_any_order_leave_one_channel_per_topic_at_most_and_forget_none(steps):
    session = make()
    started: list[GatewayChannel] = []
    live: set[int] = set()

    def note(actions):
        for action in actions:
            if isinstance(action, SubscribeThenJoin):
                live.add(action.channel.number)
                if action.channel not in started:
                    started.append(action.channel)
            elif isinstance(action, Drop):
                live.discard(action.channel.number)
            elif isinstance(action, Forward):
                assert action.channel.number in live

    for step in steps:
        if step[0] == "client":
            _, ref, topic, event = step
            note(say(session, ref, ref, topic, event, {}))
            continue
        if not started:
            continue
        channel = started[step[1] % len(started)]
        if channel.number not in live:
            continue
        if step[0] == "joined":
            note(accept(session, channel))
        elif step[0] == "refused":
            note(refuse(session, channel, b"{}"))
        else:
            if channel.worker is None:
                place(channel)
            note(session.advance(channel, ENDS[step[0]]))
    by_topic = [each for each in started if each.number in live]
    current = set(session.channels.values())
    for channel in by_topic:
        replaced = session.channels[channel.topic].pending
        assert channel in current or (replaced is not None and replaced.replaces is channel)
