"""ChannelCase: replies, pushes, broadcasts and the messages of failed assertions."""

import asyncio

import pytest

from mesh import Endpoint, Mount
from mesh.errors import UnhandledEventError
from mesh.testing import ANY, ChannelCase, Contains, stepped_loop
from tests.unit.mesh.testing.case_app import UserSocket, people


def test_replies_are_asserted_by_ref_status_and_payload(room):
    assert room.assert_reply(room.push("ping", {"a": 1}), "ok", {"a": 1}) == {"a": 1}
    ref = room.push("fail")
    room.refute_reply(ref, "ok")
    room.assert_reply(ref, "error", {"reason": "bad"})
    room.refute_reply(ref)
    room.assert_reply(room.push("slow", {"seconds": 0.02}))
    room.assert_reply(room.push("later"), payload={"late": True})
    room.assert_reply(room.push("bytes"), payload=b"\x00\xff")


def test_broadcasts_and_pushes_are_asserted_by_event_and_payload(channel_case, room):
    other = channel_case.connect({"user": "bo"}).join("room:1")
    elsewhere = channel_case.connect().join("room:2")
    room.push("shout", {"a": 1, "b": 2})
    room.assert_push("shout", Contains(a=1))
    other.assert_push("shout", {"a": 1, "b": ANY})
    elsewhere.refute_push("shout")
    assert channel_case.assert_broadcast("shout", topic="room:1") == {"a": 1, "b": 2}
    room.push("others", {})
    room.refute_push("others")
    other.assert_push("others")
    room.push("secret", {"k": 1})
    room.assert_push("secret", {"k": 1, "to": "ana"})
    other.assert_push("secret", {"k": 1, "to": "bo"})
    other.broadcast_from("shout", {"n": 3})
    room.assert_push("shout", {"n": 3})
    other.assert_push("shout", {"n": 3})
    channel_case.refute_broadcast("shout", {"n": 3})
    channel_case.broadcast("room:1", "news", {})
    room.assert_push("news")
    room.push("listen")
    channel_case.broadcast("other:1", "far", {"x": 1})
    room.assert_push("heard", {"event": "far", "payload": {"x": 1}})


def test_presence_state_and_diffs_are_pushed(channel_case):
    one = channel_case.connect().join("room:1", {"present": "ana"})
    assert list(one.assert_push("presence_state")) == ["ana"]
    two = channel_case.connect().join("room:1", {"present": "bo"})
    one.assert_push("presence_diff", {"joins": {"bo": ANY}, "leaves": {}})
    assert sorted(two.assert_push("presence_state")) == ["ana", "bo"]
    assert sorted(people.list("room:1")) == ["ana", "bo"]
    two.leave()
    one.assert_push("presence_diff", {"joins": {}, "leaves": {"bo": ANY}})


def test_a_v1_client_cannot_be_sent_bytes(channel_case):
    room = channel_case.connect(serializer="v1_json").join("room:1")
    room.push("bytes")
    room.assert_crashed()


def test_a_failed_assertion_shows_what_was_received_instead(channel_case, room):
    room.push("shout", {"a": 1})
    ref = room.push("ping", {"b": 2})
    for call, words in (
        (lambda: room.assert_push("shout", {"a": 2}), ["no push 'shout' with {'a': 2}", "{'a': 1}"]),
        (lambda: room.assert_reply(ref, "error"), ["no reply 'error'", "'ok', {'b': 2}"]),
        (lambda: room.assert_reply("99"), ["to '99'"]),
        (lambda: channel_case.assert_broadcast("other"), ["no broadcast 'other'", "'room:1', 'shout'"]),
        (lambda: room.refute_push("shout"), ["'shout' was pushed with {'a': 1}"]),
        (lambda: room.refute_reply(ref), ["was replied to: 'ok'"]),
        (lambda: channel_case.refute_broadcast("shout"), ["was broadcast on 'room:1'"]),
        (room.assert_closed, ["still joined; it should be closed"]),
    ):
        with pytest.raises(AssertionError) as caught:
            call()
        assert all(word in str(caught.value) for word in words), str(caught.value)
    for n in range(60):
        room.push("shout", {"n": n})
    with pytest.raises(AssertionError, match="and 11 earlier pushes") as caught:
        room.assert_push("never", timeout_seconds=0)
    assert "{'n': 59}" in str(caught.value)
    room.push("slow", {"seconds": 30})
    with pytest.raises(AssertionError, match="still waiting; pass timeout_seconds"):
        room.assert_push("never", timeout_seconds=0.01)
    room.push("unknown")


def test_a_failed_assertion_shows_a_crash(channel_case, room):
    other = channel_case.connect().join("room:2")
    with pytest.raises(AssertionError, match="the channel has crashed: UnhandledEventError") as caught:
        room.assert_reply(room.push("unknown"))
    assert isinstance(caught.value.__cause__, UnhandledEventError)
    with pytest.raises(AssertionError, match="another channel, on 'room:1', has crashed: UnhandledEvent"):
        other.assert_push("never")
    with pytest.raises(AssertionError, match="another channel, on 'room:1', has crashed"):
        channel_case.assert_broadcast("never")
    with pytest.raises(AssertionError, match=r"has crashed: UnhandledEventError.*it should be closed"):
        room.assert_closed()
    assert isinstance(room.assert_crashed(), UnhandledEventError)


def test_a_call_returns_when_nothing_is_ready_to_run(room):
    room.push("spin", {"turns": 1_000})
    assert room.channel.assigns["spun"] == 1_000
    room.push("count down", {"from": 1_000})
    assert room.channel.assigns["left"] == 0


def test_background_tasks_are_awaited_and_cancelled_at_the_end(channel_case, room):
    room.push("in the background", {"seconds": 0.01})
    room.assert_push("done in the background")
    room.push("in a thread")
    room.assert_push("done in a thread", timeout_seconds=5)
    room.push("in the background", {"seconds": 0.01})
    with pytest.raises(AssertionError, match="was pushed"):
        room.refute_push("done in the background", timeout_seconds=5)
    room.push("in the background", {"seconds": 30})
    room.assert_push("done in the background")
    room.refute_push("done in the background")
    channel_case.close()
    assert room.channel.task.cancelled()


def test_callbacks_that_never_become_idle_fail_the_test(monkeypatch, room):
    monkeypatch.setattr(stepped_loop, "SPIN_SECONDS", 0.05)
    with pytest.raises(AssertionError, match="kept each other running"):
        room.push("spin", {"turns": 10**12})


def test_a_payload_its_serializer_cannot_carry_is_not_received():
    case = ChannelCase(Endpoint({"/socket": Mount(UserSocket, longpoll=True)}))
    old = case.connect(serializer="v1_json").join("room:1")
    polling = case.connect(transport="longpoll").join("room:1")
    json = case.connect().join("room:1")
    new = case.connect(serializer="v2_msgpack", transport="zeromq").join("room:1")
    case.broadcast("room:1", "picture", b"\x00")
    for room in (json, new):
        room.assert_push("picture", b"\x00")
    for room in (old, polling):
        room.refute_push("picture")
        with pytest.raises(AssertionError, match="'picture' was sent, but this client cannot receive it"):
            room.assert_push("picture")
    case.broadcast("room:1", "long" * 100, b"\x00")
    new.assert_push("long" * 100)
    json.refute_push("long" * 100)
    new.assert_reply(new.push("ping", {"n": 1}), "ok", {"n": 1})
    case.close()


def test_a_broadcast_made_in_join_does_not_reach_the_joining_channel(channel_case, room):
    second = channel_case.connect().join("room:1", {"announce": True})
    room.assert_push("announced")
    second.refute_push("announced")


def test_the_case_receives_broadcasts_of_topics_it_subscribed_to(channel_case):
    room = channel_case.connect().join("room:1")
    room.broadcast_from("first", {})
    channel_case.broadcast("room:1", "second", {})
    channel_case.refute_broadcast("second")
    channel_case.subscribe("room:1")
    channel_case.broadcast("room:1", "third", {})
    channel_case.assert_broadcast("third")
    endpoint_diff = channel_case.connect().join("room:1", {"present": "bo"})
    channel_case.assert_broadcast("presence_diff", {"joins": {"bo": ANY}, "leaves": {}})
    endpoint_diff.assert_push("presence_diff")


def test_contains_compares_a_subset_of_keys():
    assert Contains(a=1) == {"a": 1, "b": 2}
    assert Contains({"a": Contains(b=ANY)}) == {"a": {"b": 2}}
    assert Contains(a=1) != {"a": 2}
    assert Contains(a=1) != {"b": 1}
    assert Contains(a=1) != [1]
    assert repr(Contains(a=1)) == "Contains({'a': 1})"


def test_run_returns_the_result_of_a_coroutine(channel_case):
    async def answer():
        await asyncio.sleep(0)
        return 42

    assert channel_case.run(answer()) == 42
