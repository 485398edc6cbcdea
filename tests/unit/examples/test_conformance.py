"""The conformance example, verb by verb, without a network."""

import pytest

from examples.conformance import endpoint
from mesh.testing import ANY, ConnectRefused, JoinRefused


@pytest.fixture
def mesh_endpoint():
    return endpoint


@pytest.fixture
def ana(channel_case):
    return channel_case.connect({"user_id": "ana"}).subscribe_and_join("room:1")


@pytest.fixture
def bo(channel_case):
    return channel_case.connect({"user_id": "bo"}).join("room:1")


def test_connecting(channel_case):
    assert channel_case.connect({"user_id": "7"}).id == "users:7"
    assert channel_case.connect().id is None
    with pytest.raises(ConnectRefused):
        channel_case.connect({"token": "bad"})


def test_joining(channel_case, ana):
    assert ana.reply == {"topic": "room:1"}
    for topic, reason in (("room:private", "unauthorized"), ("nowhere", "unmatched topic")):
        with pytest.raises(JoinRefused) as caught:
            channel_case.connect().join(topic)
        assert caught.value.reply == {"reason": reason}


@pytest.mark.parametrize("payload", [{"n": 1}, [1, 2], "text", 7, False, b"\x00\xff"])
@pytest.mark.parametrize("event", ["echo", "bin"])
def test_any_payload_is_echoed(ana, event, payload):
    ana.assert_reply(ana.push(event, payload), "ok", payload)


@pytest.mark.parametrize(
    ("transport", "serializer"),
    [
        ("websocket", "v1_json"),
        ("websocket", "v2_json"),
        ("websocket", "v2_msgpack"),
        ("longpoll", "v1_json"),
        ("longpoll", "v2_json"),
        ("zeromq", "v2_msgpack"),
    ],
)
def test_every_client_is_answered(channel_case, transport, serializer):
    room = channel_case.connect(serializer=serializer, transport=transport).join("room:1")
    room.assert_reply(room.push("echo", {"é": [1.5, None]}), "ok", {"é": [1.5, None]})


def test_replies(ana):
    ana.assert_reply(ana.push("fail"), "error", {"reason": "bad"})
    ana.refute_reply(ana.push("noreply"))


def test_a_message_reaches_everybody_on_the_topic(channel_case, ana, bo):
    elsewhere = channel_case.connect().join("room:2")
    ana.push("new_msg", {"body": "hi"})
    for room in (ana, bo):
        room.assert_push("new_msg", {"body": "hi"})
    channel_case.assert_broadcast("new_msg", {"body": "hi"}, topic="room:1")
    elsewhere.refute_push("new_msg")


def test_from_reaches_the_others_and_push_only_oneself(ana, bo):
    ana.push("from", {"n": 1})
    bo.assert_push("from", {"n": 1})
    ana.refute_push("from")
    ana.push("push_me", {"n": 2})
    ana.assert_push("pushed", {"n": 2})
    bo.refute_push("pushed")


def test_what_is_intercepted_is_pushed_to_each_by_its_channel(channel_case, ana, bo):
    ana.push("intercept_me", {"n": 1})
    ana.assert_push("intercept_me", {"n": 1, "to": "ana"})
    bo.assert_push("intercept_me", {"n": 1, "to": "bo"})
    ana.refute_push("intercept_me")
    channel_case.assert_broadcast("intercept_me", {"n": 1})


def test_a_crash_costs_one_channel(ana, bo):
    ana.push("crash")
    assert str(ana.assert_crashed()) == "crashed on request"
    bo.assert_reply(bo.push("echo"))


def test_stopping_answers_and_closes(ana):
    ana.assert_reply(ana.push("stop"), "ok", {})
    assert ana.assert_closed() == "normal"


def test_a_second_join_closes_the_first(channel_case):
    socket = channel_case.connect()
    first, second = socket.join("room:1"), socket.join("room:1")
    assert first.assert_closed() == "duplicate_join"
    second.assert_reply(second.push("echo"))


def test_presence(channel_case):
    ana = channel_case.connect({"user_id": "ana"}).join("presence:1")
    ana.assert_push("presence_state", {"ana": {"metas": [{"online_at": ANY, "phx_ref": ANY}]}})
    bo = channel_case.connect({"user_id": "bo"}).join("presence:1")
    ana.assert_push("presence_diff", {"joins": {"bo": ANY}, "leaves": {}})
    bo.leave()
    ana.assert_push("presence_diff", {"joins": {}, "leaves": {"bo": ANY}})


def test_a_user_is_disconnected_everywhere(channel_case, bo):
    sockets = [channel_case.connect({"user_id": "ana"}) for _ in range(2)]
    rooms = [socket.join("room:1") for socket in sockets]
    channel_case.do(lambda: endpoint.disconnect("users:ana"))
    assert [room.assert_closed() for room in rooms] == ["disconnected"] * 2
    assert not any(socket.connected for socket in sockets)
    bo.assert_reply(bo.push("echo"))


def test_the_channel_of_the_benchmark(channel_case):
    room = channel_case.connect().join("bench:1")
    room.assert_reply(room.push("echo", {"n": 1}), "ok", {"n": 1})
    room.push("new_msg", {"n": 2})
    room.assert_push("new_msg", {"n": 2})
