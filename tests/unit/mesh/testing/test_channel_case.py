"""mesh.testing by its own means: an application that does everything, in plain test functions."""

import asyncio

import pytest

from mesh import Channel, ConnectInfo, Endpoint, Mount, Presence, SocketHandler, error, ok, on, refuse
from mesh.errors import ApplicationError, UnhandledEventError
from mesh.testing import ANY, ChannelCase, ConnectRefused, Contains, JoinRefused, stepped_loop
from mesh.testing import channel_case as channel_case_module

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
        if payload.get("announce"):
            endpoint.broadcast(topic, "announced", {})
        self.assigns["stuck"] = payload.get("stuck", {})
        return {"topic": topic}

    def after_join(self, payload):
        if payload.get("die"):
            raise RuntimeError("died after the join")
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

    @on("spin")
    async def spin(self, payload):
        for turn in range(payload["turns"]):
            await asyncio.sleep(0)
            self.assigns["spun"] = turn + 1

    @on("count down")
    def count_down(self, payload):
        self.assigns["left"] = payload["from"]
        self.send("count")

    @on("in the background")
    def in_the_background(self, payload):
        async def work():
            await asyncio.sleep(payload["seconds"])
            self.push("done in the background", {})

        self.task = asyncio.get_running_loop().create_task(work())

    @on("in a thread")
    def in_a_thread(self, payload):
        loop = asyncio.get_running_loop()
        done = ("done in a thread", {})
        loop.run_in_executor(None, loop.call_soon_threadsafe, self.push, *done)

    @on("throw out")
    def throw_out(self, payload):
        endpoint.disconnect(payload["id"])

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
        if message == "count":
            self.assigns["left"] -= 1
            if self.assigns["left"] > 0:
                self.send("count")
        elif hasattr(message, "ref"):
            self.reply({"late": True}, ref=message)
        else:
            self.push("heard", {"event": message.event, "payload": message.payload})

    async def terminate(self, reason):
        await asyncio.sleep(30 if "terminate" in self.assigns.get("stuck", {}) else 0.01)
        self.endpoint().broadcast("ends", "ended", {"reason": str(reason)})

    def endpoint(self):
        return endpoint


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel}

    async def connect(self, params, info):
        if params.get("token") == "bad":
            return refuse("bad token")
        if params.get("token") == "hangs":
            await asyncio.sleep(30)
        if params.get("token") == "times out":
            raise TimeoutError("its own")
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


def test_what_only_a_wrong_test_does_is_no_refusal(channel_case):
    for wrong, words in (
        ({"path": "/other"}, "'/other'"),
        ({"serializer": "v3"}, "'v3'; want one of"),
        ({"transport": "longpoll"}, "no transport 'longpoll'"),
    ):
        with pytest.raises(ApplicationError, match=words):
            channel_case.connect(**wrong)
    with pytest.raises(ApplicationError, match="not None"):
        ChannelCase(None)
    two = ChannelCase(Endpoint({"/one": UserSocket, "/two": Mount(UserSocket, longpoll=True)}))
    with pytest.raises(ApplicationError, match="pass path= one of"):
        two.connect()
    two.connect(path="/two", transport="longpoll").join("room:1")
    with pytest.raises(ApplicationError, match="cannot carry v2_msgpack"):
        two.connect(path="/two", transport="longpoll", serializer="v2_msgpack")
    two.close()
    with pytest.raises(ApplicationError, match="is closed"):
        two.connect(path="/one")


def test_variables_of_the_path_are_parameters():
    case = ChannelCase(Endpoint({"/rooms": UserSocket, "/users/:user/socket": UserSocket}))
    assert case.connect({"user": "ana"}, path="/users/bo/socket").assigns["user"] == "bo"
    assert case.connect({"user": "ana"}, path="/users/:user/socket").assigns["user"] == "ana"
    with pytest.raises(ApplicationError, match="'/users/socket'"):
        case.connect(path="/users/socket")
    case.close()


def test_a_socket_that_production_would_refuse_is_refused(channel_case):
    with pytest.raises(ConnectRefused, match="are invalid"):
        channel_case.socket(assigns={"object": object()})
    with pytest.raises(ConnectRefused, match="are invalid"):
        channel_case.socket(id="$nodes")


def test_a_connect_that_does_not_end_fails_the_test(channel_case, monkeypatch):
    monkeypatch.setattr(channel_case_module, "CONNECT_SECONDS", 0.01)
    with pytest.raises(AssertionError, match=r"UserSocket\.connect took over 0\.01 seconds"):
        channel_case.connect({"token": "hangs"})
    with pytest.raises(TimeoutError, match="its own"):
        channel_case.connect({"token": "times out"})


def test_in_async_code_it_says_what_to_do(channel_case):
    async def test():
        channel_case.connect()

    with pytest.raises(ApplicationError, match="plain `def` test"):
        asyncio.run(test())


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


def test_a_crash_shows_where_an_answer_was_expected(channel_case, room):
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


def test_a_crashed_join_says_why(channel_case):
    with pytest.raises(JoinRefused, match="join crashed") as caught:
        channel_case.connect().join("room:1", {"crash": True})
    assert str(caught.value.__cause__) == "crashed on request"


def test_a_channel_that_dies_at_once_can_be_looked_at(channel_case):
    room = channel_case.connect().join("room:1", {"die": True})
    assert room.channel.assigns["user"] == "ana"
    assert str(room.assert_crashed()) == "died after the join"


def test_whatever_can_run_has_run_when_a_call_returns(room):
    room.push("spin", {"turns": 1_000})
    assert room.channel.assigns["spun"] == 1_000
    room.push("count down", {"from": 1_000})
    assert room.channel.assigns["left"] == 0


def test_what_callbacks_started_is_waited_for_and_ended(channel_case, room):
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


def test_callbacks_without_end_fail_the_test(monkeypatch, room):
    monkeypatch.setattr(stepped_loop, "SPIN_SECONDS", 0.05)
    with pytest.raises(AssertionError, match="kept each other running"):
        room.push("spin", {"turns": 10**12})


def test_who_is_gone_is_sent_nothing(channel_case):
    ana, bo = (channel_case.connect({"user": user}) for user in ("ana", "bo"))
    rooms = [socket.join("room:1") for socket in (ana, bo)]
    bo.disconnect()
    assert (ana.connected, bo.connected) == (True, False)
    rooms[0].push("shout", {})
    rooms[0].assert_push("shout")
    rooms[1].refute_push("shout")
    assert rooms[1].assert_closed() == "closed"
    with pytest.raises(ApplicationError, match="is disconnected"):
        bo.join("room:1")
    bo.disconnect()


def test_a_channel_that_has_ended_answers_as_in_production(room):
    room.assert_reply(room.leave())
    assert room.assert_closed() == "left"
    room.assert_reply(room.push("ping"), "error", {"reason": "unmatched topic"})
    room.assert_reply(room.leave(), "ok", {})
    room.close()


def test_the_application_disconnects_by_id(channel_case):
    ana, bo = (channel_case.connect({"user": user}) for user in ("ana", "bo"))
    rooms = [socket.join("room:1") for socket in (ana, bo)]
    rooms[1].push("throw out", {"id": "users:ana"})
    assert rooms[0].assert_closed() == "disconnected"
    assert (ana.connected, bo.connected) == (False, True)


def test_close_waits_for_terminate_and_kills_what_does_not_end(channel_case):
    channel_case.subscribe("ends")
    room = channel_case.connect().join("room:1")
    room.close()
    channel_case.assert_broadcast("ended", {"reason": "closed"}, timeout_seconds=0)
    for stuck in ({"callback": True}, {"terminate": True}):
        room = channel_case.connect().join("room:1", {"stuck": stuck})
        room.push("slow", {"seconds": 30 if "callback" in stuck else 0})
        room.close(timeout_seconds=0.02)
        with pytest.raises(AssertionError, match="was killed"):
            room.assert_closed()


def test_what_a_client_cannot_be_sent_is_not_received():
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


def test_a_broadcast_made_in_join_is_not_for_who_joins(channel_case, room):
    second = channel_case.connect().join("room:1", {"announce": True})
    room.assert_push("announced")
    second.refute_push("announced")


def test_broadcasts_are_heard_on_topics_subscribed_to(channel_case):
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


def test_settings_in_code_count():
    small = Endpoint({"/socket": UserSocket}, settings={"worker": {"join_timeout_seconds": 0.005}})
    case = ChannelCase(small)
    with pytest.raises(JoinRefused, match="join crashed") as caught:
        case.connect().join("room:1", {"slow": True})
    assert "join_timeout_seconds" in str(caught.value.__cause__)
    case.close()


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
