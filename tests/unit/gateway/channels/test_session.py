"""gateway/channels/session.py: messages of a client, commands of workers, and the actions that follow."""

import itertools

import msgspec
import pytest

from mesh.app.routes import Route, RouteTable
from mesh.gateway.channels.actions import Close, Deliver, Drop, Forward, Send, SubscribeThenJoin
from mesh.gateway.channels.phases import Event
from mesh.gateway.channels.session import Session
from mesh.gateway.channels.worker_commands import pushed, replied
from mesh.link import commands
from mesh.protocol.messages import BINARY, JSON
from mesh.protocol.serializers.base import Frame
from mesh.protocol.serializers.v1_json import V1JSON
from mesh.protocol.serializers.v2_json import V2JSON
from tests.unit.gateway.channels.session_events import (
    UNMATCHED,
    Room,
    accept,
    join,
    kinds,
    make,
    refuse,
    reply,
    say,
    sent,
)


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


def test_a_refused_join_drops_its_channel():
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


def test_a_push_is_forwarded_with_its_payload_unchanged():
    session = make()
    channel = join(session)
    data = b'["1","7","room:1","new_msg", { "a" : 1.0 }]'
    assert session.received(data, False) == [
        Forward(channel, commands.Push(channel.number, "7", "new_msg", JSON, b'{ "a" : 1.0 }'))
    ]


def test_a_binary_push_is_forwarded_as_binary():
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


def test_a_reply_may_be_binary_or_json_whatever_the_push_was():
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


def test_on_a_topic_not_joined_a_push_is_unmatched_and_a_leave_is_ok():
    session = make()
    assert sent(say(session, "9", "10", "room:1", "echo", {})) == [
        reply(None, "10", "room:1", "error", UNMATCHED)
    ]
    assert sent(say(session, "9", "10", "room:1", "phx_leave", {})) == [
        reply("9", "10", "room:1", "ok", {})
    ]


@pytest.mark.parametrize("topic", ["$nodes", "$node:x", "$presence:p", "$", "room:\x00"])
def test_reserved_topics_are_unmatched(topic):
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


def test_a_crash_is_sent_as_phx_error_with_its_reason():
    session = make()
    channel = join(session)
    actions = session.advance(channel, Event.CRASHED)
    assert sent(actions) == [["1", "1", "room:1", "phx_error", {"reason": "channel_crash"}]]
    assert actions[-1] == Drop(channel)


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b"[1,2,3,4]", b"{}", b"null", b'["1","1","t","e",{"a":1e999}]', b"[" * 100_000],
)
def test_a_message_that_cannot_be_decoded_closes_with_1011(data):
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


def test_an_event_that_is_too_long_costs_its_sender_an_error_reply():
    session = make()
    accept(session, join(session))
    long = say(session, "1", "2", "room:1", "e" * 900_000, {})
    assert sent(long) == [reply("1", "2", "room:1", "error", {"reason": "event too long"})]
    long = say(session, "1", "3", "room:1", "é" * 2_049, {})  # its bytes count
    assert sent(long) == [reply("1", "3", "room:1", "error", {"reason": "event too long"})]
    assert kinds(say(session, "1", "4", "room:1", "é" * 2_048, {})) == [Forward]
    assert kinds(say(session, "1", "5", "room:1", "e" * 4_096, {})) == [Forward]


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


def test_refs_at_the_length_limit_are_accepted():
    (start,) = say(make(), "j" * 255, "é" * 127, "room:" + "x" * 4_000, "phx_join", {})
    assert isinstance(start, SubscribeThenJoin)
