"""mesh.testing by its own means: an application that does everything, in plain test functions."""

import asyncio

import pytest

from mesh import Channel, ConnectInfo, Endpoint, Presence, SocketHandler, error, ok, on, refuse
from mesh.errors import ApplicationError
from mesh.testing import ANY, ChannelCase, ConnectRefused, Contains, JoinRefused

people = Presence()


class RoomChannel(Channel):
    intercept = ("secret",)

    async def join(self, topic, payload):
        if payload.get("crash"):
            raise RuntimeError("crashed on request")
        if topic == "room:private":
            return refuse("unauthorized")
        if payload.get("slow"):
            await asyncio.sleep(0.02)
        return {"topic": topic}

    def after_join(self, payload):
        if payload.get("present"):
            people.track(self, payload["present"])
            self.push("presence_state", people.list(self))

    @on("ping")
    def ping(self, payload):
        return ok(payload)

    @on("fail")
    def fail(self, payload):
        return error({"reason": "bad"})

    @on("shout")
    async def shout(self, payload):
        await self.broadcast("shout", payload)

    @on("others")
    def others(self, payload):
        self.broadcast_from("others", payload)

    @on("secret")
    def secret(self, payload):
        self.broadcast("secret", payload)

    @on("slow")
    async def slow(self, payload):
        await asyncio.sleep(payload["seconds"])
        return {}

    @on("later")
    def later(self, payload):
        self.send(self.socket_ref(), delay_seconds=0.01)

    @on("unencodable")
    def unencodable(self, payload):
        self.push("object", {"object": object()})

    @on("bytes")
    def bytes(self, payload):
        return b"\x00\xff"

    @on("stop")
    def stop_it(self, payload):
        self.stop(reply=ok({"bye": True}))

    @on("listen")
    async def listen(self, payload):
        await self.subscribe("other:1")

    def handle_out(self, event, payload):
        self.push(event, {**payload, "to": self.assigns["user"]})

    def handle_info(self, message):
        if hasattr(message, "ref"):
            self.reply({"late": True}, ref=message)
        else:
            self.push("heard", {"event": message.event, "payload": message.payload})

    async def terminate(self, reason):
        await asyncio.sleep(0.01)
        self.endpoint().broadcast("ends", "ended", {"reason": str(reason)})

    def endpoint(self):
        return endpoint


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel}

    async def connect(self, params, info):
        if params.get("token") == "bad":
            return refuse("bad token")
        if params.get("token") == "nonsense":
            return "yes"
        self.assigns.update(user=params.get("user", "ana"), agent=info.user_agent)

    def id(self):
        return f"users:{self.assigns['user']}"


endpoint = Endpoint({"/socket": UserSocket}, presences=[people])


@pytest.fixture
def mesh_endpoint():
    return endpoint


@pytest.fixture
def room(channel_case):
    return channel_case.connect().subscribe_and_join("room:1")


def test_connect_runs_the_real_one(channel_case):
    socket = channel_case.connect({"user": "bo"}, info=ConnectInfo("websocket", user_agent="me"))
    assert (socket.id, socket.assigns) == ("users:bo", {"user": "bo", "agent": "me"})
    with pytest.raises(ConnectRefused, match="refused") as caught:
        channel_case.connect({"token": "bad"})
    assert caught.value.returned == refuse("bad token")
    with pytest.raises(ConnectRefused, match="returned 'yes'"):
        channel_case.connect({"token": "nonsense"})
    with pytest.raises(ConnectRefused, match="'/other'"):
        channel_case.connect(path="/other")


def test_a_socket_without_connect(channel_case):
    socket = channel_case.socket(id="users:9", assigns={"user": "nine"})
    assert (socket.id, socket.assigns) == ("users:9", {"user": "nine"})


def test_joins(channel_case):
    socket = channel_case.connect()
    channel = socket.join("room:1", {"slow": True})
    assert channel.reply == {"topic": "room:1"}
    assert channel.channel.assigns["user"] == "ana"
    for topic, payload, reason in (
        ("room:private", {}, "unauthorized"),
        ("room:2", {"crash": True}, "join crashed"),
        ("nope", {}, "unmatched topic"),
        ("$nodes", {}, "unmatched topic"),
    ):
        with pytest.raises(JoinRefused) as caught:
            socket.join(topic, payload)
        assert caught.value.reply == {"reason": reason}


def test_replies(room):
    assert room.assert_reply(room.push("ping", {"a": 1}), "ok", {"a": 1}) == {"a": 1}
    ref = room.push("fail")
    room.refute_reply(ref, "ok")
    room.assert_reply(ref, "error", {"reason": "bad"})
    room.refute_reply(ref)
    room.assert_reply(room.push("slow", {"seconds": 0.02}))
    room.assert_reply(room.push("later"), payload={"late": True})
    room.assert_reply(room.push("bytes"), payload=b"\x00\xff")


def test_broadcasts_and_pushes(channel_case, room):
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


def test_ends(channel_case):
    channel_case.subscribe("ends")
    socket = channel_case.connect()

    def ended(reason):
        channel_case.assert_broadcast("ended", {"reason": reason})

    left = socket.join("room:1")
    left.assert_reply(left.leave())
    left.assert_closed()
    ended("left")
    closed = socket.join("room:1")
    closed.close()
    ended("closed")
    stopped = socket.join("room:1")
    stopped.assert_reply(stopped.push("stop"), payload={"bye": True})
    stopped.assert_closed()
    ended("normal")
    crashed = socket.join("room:1")
    crashed.push("unencodable")
    crashed.assert_crashed()
    crashed = socket.join("room:1")
    crashed.push("unknown event")
    crashed.assert_crashed()
    old = socket.join("room:2")
    socket.join("room:2")
    old.assert_closed()
    ended("duplicate_join")
    socket.disconnect("disconnected")
    ended("disconnected")


def test_presence(channel_case):
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


def test_what_is_missing_is_said_with_what_came_instead(channel_case, room):
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
        (room.assert_closed, ["still joined, not closed"]),
    ):
        with pytest.raises(AssertionError) as caught:
            call()
        assert all(word in str(caught.value) for word in words), str(caught.value)
    room.push("slow", {"seconds": 30})
    with pytest.raises(AssertionError, match="still waiting; give timeout_seconds"):
        room.assert_push("never", timeout_seconds=0.01)
    room.push("unknown")


def test_a_crash_shows_where_an_answer_was_expected(room):
    with pytest.raises(AssertionError, match="the channel has crashed"):
        room.assert_reply(room.push("unknown"))


def test_contains():
    assert Contains(a=1) == {"a": 1, "b": 2}
    assert Contains({"a": Contains(b=ANY)}) == {"a": {"b": 2}}
    assert Contains(a=1) != {"a": 2}
    assert Contains(a=1) != {"b": 1}
    assert Contains(a=1) != [1]
    assert repr(Contains(a=1)) == "Contains({'a': 1})"


def test_after_the_case_the_endpoint_runs_no_longer():
    case = ChannelCase(endpoint)
    case.connect().join("room:1")
    case.close()
    case.close()
    with pytest.raises(ApplicationError):
        endpoint.broadcast("room:1", "x", {})


def test_a_coroutine_of_the_tests_own(channel_case):
    async def answer():
        await asyncio.sleep(0)
        return 42

    assert channel_case.run(answer()) == 42
