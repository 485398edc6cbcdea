"""gateway/channels/session.py: what a client and a worker say, and the actions that follow."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.actions import Close, Deliver, Drop, Forward, Pause, Resume, Send, SubscribeThenJoin
from gateway.channels.answers import UNAVAILABLE
from gateway.channels.gateway_channel import GatewayChannel
from gateway.channels.phases import Event
from gateway.channels.session import Session
from gateway.channels.worker_commands import pushed, replied
from mesh.channel import Channel
from mesh.link import commands
from mesh.messages import BINARY, JSON
from mesh.routes import Route, RouteTable
from mesh.serializers.base import Frame
from mesh.serializers.v1_json import V1JSON
from mesh.serializers.v2_json import V2JSON
from tests.support.gateway_channels import place


class Room(Channel):
    pass


ROUTES = RouteTable([Route("room:*", Room)])


def make(serializer=None, max_channels=100, max_pending_bytes=10_000):
    return Session(
        serializer or V2JSON(),
        ROUTES,
        "client",
        itertools.count(1).__next__,
        max_channels,
        max_pending_bytes,
    )


def say(session, *message):
    return session.received(msgspec.json.encode(list(message)), False)


def sent(actions):
    return [msgspec.json.decode(each.frame.data) for each in actions if isinstance(each, Send)]


def kinds(actions):
    return [type(action) for action in actions]


def reply(join_ref, ref, topic, status, response):
    return [join_ref, ref, topic, "phx_reply", {"status": status, "response": response}]


UNMATCHED = {"reason": "unmatched topic"}


def join(session, topic="room:1", ref="1", **joined) -> GatewayChannel:
    (start,) = say(session, ref, ref, topic, "phx_join", {})
    accept(session, start.channel, **joined)
    return start.channel


def accept(session, channel, intercepts=(), since=0, data=b"{}"):
    if channel.worker is None:
        place(channel)
    return session.joined(channel, commands.Joined(channel.number, intercepts, since, JSON, data))


def refuse(session, channel, data):
    if channel.worker is None:
        place(channel)
    return session.refused(channel, commands.Refused(channel.number, JSON, data))


def test_a_heartbeat_is_answered_without_join_ref():
    actions = say(make(), "9", "4", "phoenix", "heartbeat", {})
    assert sent(actions) == [reply(None, "4", "phoenix", "ok", {})]


def test_another_event_on_phoenix_is_an_unmatched_topic():
    assert sent(say(make(), None, "4", "phoenix", "hello", {})) == [
        reply(None, "4", "phoenix", "error", UNMATCHED)
    ]


def test_a_join_starts_a_channel_and_its_answer_activates_it():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {"a": 1})
    assert isinstance(start, SubscribeThenJoin)
    actions = accept(session, start.channel, data=b'{"topic":"room:1"}')
    assert sent(actions) == [reply("1", "1", "room:1", "ok", {"topic": "room:1"})]
    assert kinds(actions) == [Send, Deliver]


def test_a_join_without_route_is_answered_with_join_ref_null():
    for topic in ("nope:x", "$nodes", "room:\x00", 7, None, ["room:1"], {"a": 1}, "room:" + "x" * 5000):
        assert sent(say(make(), "1", "2", topic, "phx_join", {})) == [
            reply(None, "2", topic, "error", UNMATCHED)
        ]


def test_a_refused_join_leaves_no_channel():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    actions = refuse(session, start.channel, b'{"reason":"unauthorized"}')
    assert sent(actions) == [reply("1", "1", "room:1", "error", {"reason": "unauthorized"})]
    assert actions[-1] == Drop(start.channel)
    assert sent(say(session, "1", "2", "room:1", "echo", {})) == [
        reply(None, "2", "room:1", "error", UNMATCHED)
    ]


def test_the_channel_over_the_limit_is_refused_and_a_rejoin_at_the_limit_is_not():
    session = make(max_channels=2)
    first = join(session, "room:1", "1")
    join(session, "room:2", "2")
    assert sent(say(session, "3", "3", "room:3", "phx_join", {})) == [
        reply("3", "3", "room:3", "error", {"reason": "too many channels joined"})
    ]
    assert say(session, "4", "4", "room:1", "phx_join", {}) == [
        Forward(first, commands.Replace(first.number))
    ]


def test_a_push_travels_with_its_payload_as_it_came():
    session = make()
    channel = join(session)
    data = b'["1","7","room:1","new_msg", { "a" : 1.0 }]'
    assert session.received(data, False) == [
        Forward(channel, commands.Push(channel.number, "7", "new_msg", JSON, b'{ "a" : 1.0 }'))
    ]


def test_a_binary_push_travels_as_binary():
    session = make()
    channel = join(session)
    frame = b"\x00\x01\x01\x06\x03" + b"1" + b"7" + b"room:1" + b"bin" + b"\xff\x00"
    assert session.received(frame, True) == [
        Forward(channel, commands.Push(channel.number, "7", "bin", BINARY, b"\xff\x00"))
    ]


@pytest.mark.parametrize("join_ref", ["2", 1, 1.0, True, ["1"], ""])
def test_a_push_with_another_join_ref_is_ignored(join_ref):
    session = make()
    join(session)
    assert say(session, join_ref, "7", "room:1", "echo", {}) == []
    assert say(session, join_ref, "7", "room:1", "phx_leave", {}) == []


def test_a_push_with_join_ref_null_is_current():
    session = make()
    channel = join(session)
    (forward,) = say(session, None, "7", "room:1", "echo", {})
    assert forward.channel is channel


def test_a_leave_with_join_ref_null_is_current():
    session = make()
    channel = join(session)
    assert say(session, None, "7", "room:1", "phx_leave", {}) == [
        Forward(channel, commands.Leave(channel.number, "7"))
    ]


def test_bytes_may_answer_a_text_push_and_json_a_binary_one():
    session = make()
    channel = join(session)
    (send,) = replied(session, channel, commands.Reply(1, 0, "7", "ok", BINARY, b"\xff"))
    assert send.frame == Frame(b"\x01\x01\x01\x06\x02" + b"17room:1ok" + b"\xff", True)
    (send,) = replied(session, channel, commands.Reply(1, 0, "8", "ok", JSON, b"{}"))
    assert not send.frame.binary


def test_after_a_join_with_join_ref_null_pushes_carry_the_ref():
    session = make()
    (start,) = say(session, None, 5, "room:1", "phx_join", {})
    channel = start.channel
    assert sent(accept(session, channel)) == [reply(None, 5, "room:1", "ok", {})]
    push = pushed(session, channel, commands.Pushed(1, 0, "e", JSON, b"{}"))
    assert sent(push) == [[5, None, "room:1", "e", {}]]
    assert say(session, 5, 6, "room:1", "echo", {}) == []
    assert sent(session.advance(channel, Event.CLOSED)) == [[None, None, "room:1", "phx_close", {}]]


def test_any_event_on_a_topic_not_joined_is_unmatched_but_a_leave_is_ok():
    session = make()
    assert sent(say(session, "9", "10", "room:1", "echo", {})) == [
        reply(None, "10", "room:1", "error", UNMATCHED)
    ]
    assert sent(say(session, "9", "10", "room:1", "phx_leave", {})) == [
        reply("9", "10", "room:1", "ok", {})
    ]


@pytest.mark.parametrize("topic", ["$nodes", "$node:x", "$presence:p", "$", "room:\x00"])
def test_topics_of_the_mesh_are_unmatched(topic):
    session = Session(
        V2JSON(), RouteTable([Route("*", Room)]), "client", itertools.count(1).__next__, 100, 10_000
    )
    ((_, _, _, _, payload),) = sent(say(session, "1", "1", topic, "phx_join", {}))
    assert payload == {"status": "error", "response": UNMATCHED}
    assert not session.channels


def test_five_numbers_are_a_message_to_an_unmatched_topic():
    assert sent(make().received(b"[1,2,3,4,5]", False)) == [reply(None, 2, 3, "error", UNMATCHED)]


def test_a_leave_goes_to_the_channel_and_its_end_closes_it():
    session = make()
    channel = join(session)
    assert say(session, "1", "2", "room:1", "phx_leave", {}) == [
        Forward(channel, commands.Leave(channel.number, "2"))
    ]
    assert sent(replied(session, channel, commands.Reply(1, 0, "2", "ok", JSON, b"{}"))) == [
        reply("1", "2", "room:1", "ok", {})
    ]
    actions = session.advance(channel, Event.CLOSED)
    assert sent(actions) == [["1", "1", "room:1", "phx_close", {}]]
    assert actions[-1] == Drop(channel)


def test_a_crash_is_told_with_its_reason():
    session = make()
    channel = join(session)
    actions = session.advance(channel, Event.CRASHED)
    assert sent(actions) == [["1", "1", "room:1", "phx_error", {"reason": "channel_crash"}]]
    assert actions[-1] == Drop(channel)


def test_a_second_join_starts_when_the_first_channel_has_ended_and_then_closes_it_after_the_reply():
    session = make()
    old = join(session, ref="1")
    assert say(session, "2", "2", "room:1", "phx_join", {}) == [Forward(old, commands.Replace(old.number))]
    drop, start = session.advance(old, Event.CLOSED)
    assert (drop, type(start)) == (Drop(old), SubscribeThenJoin)
    assert sent(accept(session, start.channel)) == [
        reply("2", "2", "room:1", "ok", {}),
        ["1", "1", "room:1", "phx_close", {}],
    ]


def test_a_second_join_that_is_refused_has_ended_the_first_all_the_same():
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


def test_what_comes_while_a_join_is_pending_is_handled_after_it_in_order():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    assert say(session, "1", "2", "room:1", "a", {}) == []
    assert say(session, "1", "3", "room:1", "b", {}) == []
    assert say(session, None, "4", "phoenix", "heartbeat", {}) != []
    actions = accept(session, start.channel)
    assert kinds(actions) == [Send, Deliver, Forward, Forward]
    assert [each.command.event for each in actions[2:]] == ["a", "b"]


def test_what_waited_for_a_refused_join_is_unmatched():
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    say(session, "1", "2", "room:1", "a", {})
    say(session, "1", "3", "room:1", "phx_leave", {})
    actions = refuse(session, start.channel, b"{}")
    assert sent(actions)[1:] == [
        reply(None, "2", "room:1", "error", UNMATCHED),
        reply("1", "3", "room:1", "ok", {}),
    ]


def test_join_leave_join_in_a_row_ends_with_the_last_join():
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


def test_reading_pauses_over_the_bound_of_what_waits_and_resumes_after_the_join():
    session = make(max_pending_bytes=1000)
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    seen = []
    for ref in range(2, 14):
        seen += say(session, "1", str(ref), "room:1", "a", {})
    assert seen == [Pause()]
    actions = accept(session, start.channel)
    assert actions[-1] == Resume()
    assert len([each for each in actions if isinstance(each, Forward)]) == 12


def test_a_channel_that_ends_before_its_join_is_answered_refuses_it_and_what_waited_goes_on():
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


def test_a_pending_join_moves_when_its_worker_dies_and_a_joined_channel_crashes():
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


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b"[1,2,3,4]", b"{}", b"null", b'["1","1","t","e",{"a":1e999}]', b"[" * 100_000],
)
def test_what_cannot_be_decoded_closes_with_1011(data):
    (close,) = make().received(data, False)
    assert isinstance(close, Close)
    assert close.code == 1011


def test_a_binary_payload_for_a_v1_client_is_skipped():
    session = make(V1JSON())
    (start,) = session.received(b'{"topic":"room:1","event":"phx_join","payload":{},"ref":"1"}', False)
    accept(session, start.channel)
    assert pushed(session, start.channel, commands.Pushed(1, 0, "e", BINARY, b"\x00")) == []


def test_v1_close_carries_the_join_ref_only_if_the_join_did():
    for extra, ref in ((b"", None), (b',"join_ref":"8"', "8")):
        session = make(V1JSON())
        (start,) = session.received(
            b'{"topic":"room:1","event":"phx_join","payload":{},"ref":"1"' + extra + b"}", False
        )
        accept(session, start.channel)
        assert sent(session.advance(start.channel, Event.CLOSED)) == [
            {"topic": "room:1", "event": "phx_close", "payload": {}, "ref": ref}
        ]


REFS = st.sampled_from([None, "1", "2", "3"])
CLIENT = st.tuples(
    st.just("client"), REFS, st.sampled_from(["room:1", "room:2"]),
    st.sampled_from(["phx_join", "phx_leave", "echo"]),
)  # fmt: skip
ENDS = {"closed": Event.CLOSED, "crashed": Event.CRASHED, "lost": Event.WORKER_LOST}
WORKER = st.tuples(st.sampled_from(["joined", "refused", "closed", "crashed", "lost"]), st.integers(0, 20))


@given(st.lists(st.one_of(CLIENT, WORKER), max_size=40))
def test_whatever_happens_at_most_one_channel_per_topic_lives_and_none_is_forgotten(steps):
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


def test_an_event_that_is_too_long_costs_its_sender_an_error_reply():
    session = make()
    accept(session, join(session))
    long = say(session, "1", "2", "room:1", "e" * 900_000, {})
    assert sent(long) == [reply("1", "2", "room:1", "error", {"reason": "event too long"})]
    long = say(session, "1", "3", "room:1", "é" * 2_049, {})  # its bytes count
    assert sent(long) == [reply("1", "3", "room:1", "error", {"reason": "event too long"})]
    assert kinds(say(session, "1", "4", "room:1", "é" * 2_048, {})) == [Forward]
    assert kinds(say(session, "1", "5", "room:1", "e" * 4_096, {})) == [Forward]


@pytest.mark.parametrize("event", ["e" * 900_000, ["e" * 900_000]])
def test_an_event_that_is_too_long_is_not_kept_for_a_pending_join(event):
    session = make()
    (start,) = say(session, "1", "1", "room:1", "phx_join", {})
    long = say(session, "1", "2", "room:1", event, {})
    assert sent(long) == [reply("1", "2", "room:1", "error", {"reason": "event too long"})]
    assert not start.channel.pending.messages


def test_events_count_among_what_waits_for_a_join():
    session = make(max_pending_bytes=10_000)
    say(session, "1", "1", "room:1", "phx_join", {})
    paused = [say(session, "1", str(each), "room:1", "e" * 4_000, {}) for each in range(3)]
    assert [kinds(actions) for actions in paused] == [[], [], [Pause]]


@pytest.mark.parametrize("serializer", [V1JSON(), V2JSON()])
@pytest.mark.parametrize("ref", ["r" * 256, "é" * 128, ["r" * 260], {"r": ["r" * 300]}])
@pytest.mark.parametrize("name", ["join_ref", "ref"])
@pytest.mark.parametrize("event", ["phx_join", "echo", "heartbeat"])
def test_a_ref_that_is_too_long_ends_the_connection(serializer, ref, name, event):
    fields = {"join_ref": "1", "ref": "2", "topic": "room:1", "event": event, "payload": {}} | {name: ref}
    message = fields if isinstance(serializer, V1JSON) else list(fields.values())
    session = make(serializer)
    (close,) = session.received(msgspec.json.encode(message), False)
    assert isinstance(close, Close)
    assert close.code == 1011
    assert "at most 255" in close.reason
    assert not session.channels


def test_the_longest_refs_are_taken():
    (start,) = say(make(), "j" * 255, "é" * 127, "room:" + "x" * 4_000, "phx_join", {})
    assert isinstance(start, SubscribeThenJoin)
