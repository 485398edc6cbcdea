"""ChannelCase: channels whose topics have a history."""

import pytest

from mesh import Channel, Endpoint, History, SocketHandler, on
from mesh.errors import ChannelError
from mesh.testing import ANY, ChannelCase, Contains, JoinRefused

STATE = "history_state"


class RoomChannel(Channel):
    history = History(messages=3, except_events=("typing",))

    def after_join(self, payload):
        self.push("welcome", {})

    @on("say")
    def say(self, payload):
        self.broadcast("said", payload)

    @on("say to others")
    def say_to_others(self, payload):
        self.broadcast_from("said", payload)

    @on("type")
    def type(self, payload):
        self.broadcast("typing", payload)

    @on("list")
    async def list(self, payload):
        return {"kept": [[each.offset, each.event] for each in await self.history.list(**payload)]}


class StatusChannel(Channel):
    history = History(messages=1)


class SecretChannel(Channel):
    intercept = ("secret",)
    history = History()

    def handle_out(self, event, payload):
        self.push(event, {"hidden": True})


class PlainChannel(Channel):
    pass


class UserSocket(SocketHandler):
    channels = {
        "room:*": RoomChannel, "status:*": StatusChannel, "secret:*": SecretChannel, "plain:*": PlainChannel,
    }  # fmt: skip


endpoint = Endpoint({"/socket": UserSocket})


@pytest.fixture
def mesh_endpoint():
    return endpoint


@pytest.fixture
def room(channel_case):
    return channel_case.connect().subscribe_and_join("room:1", {"history": {}})


def pushes(channel):
    return [(each.event, each.payload, each.offset) for each in channel._received.pushes]


def test_a_client_that_asks_gets_its_position_and_those_of_kept_broadcasts(room):
    state = room.assert_push(STATE, {"epoch": ANY, "offset": 0, "recovered": True, "count": 0})
    assert room.position == {"epoch": state["epoch"], "offset": 0}
    room.push("say", {"n": 1})
    room.push("type", {})
    room.push("say", {"n": 2})
    assert pushes(room) == [("welcome", {}, None), ("said", {"n": 1}, 1), ("typing", {}, None),
                            ("said", {"n": 2}, 2)]  # fmt: skip
    room.assert_push("said", offset=2)
    room.assert_push("typing", offset=None)
    assert room.position == {"epoch": state["epoch"], "offset": 2}
    with pytest.raises(AssertionError, match="at offset 7") as failed:
        room.assert_push("said", {"n": 1}, offset=7)
    assert "('said', {'n': 1}, 1)" in str(failed.value)


def test_a_client_that_does_not_ask_gets_no_positions(channel_case):
    quiet = channel_case.connect().join("room:1")
    quiet.push("say", {"n": 1})
    assert pushes(quiet) == [("welcome", {}, None), ("said", {"n": 1}, None)]
    assert quiet.position is None


def test_a_client_that_returns_gets_what_it_missed_once_and_before_what_follows(channel_case, room):
    room.push("say", {"n": 1})
    socket, position = channel_case.connect(), room.position
    room.close()
    for number in (2, 3):
        channel_case.broadcast("room:1", "said", {"n": number})
    again = socket.join("room:1", {"history": position})
    channel_case.broadcast("room:1", "said", {"n": 4})
    again.assert_push(STATE, Contains(recovered=True, count=2, offset=3))
    assert pushes(again) == [("said", {"n": 2}, 2), ("said", {"n": 3}, 3), ("welcome", {}, None),
                             ("said", {"n": 4}, 4)]  # fmt: skip


def test_a_client_learns_that_it_cannot_get_what_it_missed(channel_case, room):
    position = room.position
    for number in range(5):
        channel_case.broadcast("room:1", "said", {"n": number})
    again = channel_case.connect().join("room:1", {"history": position})
    again.assert_push(STATE, Contains(recovered=False, count=0, offset=5))
    again.refute_push("said")
    assert again.position["offset"] == 5
    channel_case.run(endpoint.forget("room:1"))
    forgotten = channel_case.connect().join("room:1", {"history": again.position})
    state = forgotten.assert_push(STATE, Contains(recovered=False, offset=0))
    assert state["epoch"] != position["epoch"]


def test_the_newest_broadcasts_and_the_value_of_a_cached_topic_come_with_a_join(channel_case):
    for number in (1, 2):
        channel_case.broadcast("room:1", "said", {"n": number})
        channel_case.broadcast("status:1", "changed", {"n": number})
    room = channel_case.connect().join("room:1", {"history": {"last": 1}})
    room.assert_push("said", {"n": 2}, offset=2)
    room.refute_push("said")
    status = channel_case.connect().join("status:1", {"history": {}})
    status.assert_push("changed", {"n": 2}, offset=2)
    status.refute_push("changed")


def test_a_malformed_request_refuses_the_join(channel_case):
    with pytest.raises(JoinRefused) as refused:
        channel_case.connect().join("room:1", {"history": {"last": 0}})
    assert "history.last is 0" in refused.value.reply["reason"]
    channel_case.connect().join("plain:1", {"history": {"last": 0}}).refute_push(STATE)


def test_channels_and_tests_read_the_history(channel_case, room):
    assert room.assert_reply(room.push("list", {})) == {"kept": []}
    for number in range(5):
        room.push("say", {"n": number})
    assert room.assert_reply(room.push("list", {})) == {"kept": [[3, "said"], [4, "said"], [5, "said"]]}
    assert room.assert_reply(room.push("list", {"limit": 1, "before": 5})) == {"kept": [[4, "said"]]}
    kept = channel_case.run(endpoint.history("room:1", limit=1))
    assert [(each.offset, each.event, each.payload) for each in kept] == [(5, "said", {"n": 4})]
    with pytest.raises(ChannelError, match="has no history"):
        channel_case.run(endpoint.history("plain:1"))


def test_a_recorded_broadcast_is_observed_once(channel_case, room):
    room.push("say", {"n": 1})
    channel_case.assert_broadcast("said", {"n": 1})
    channel_case.refute_broadcast("said")
    room.broadcast_from("said", {"n": 2})
    room.assert_push("said", {"n": 2}, offset=2)
    channel_case.refute_broadcast("said")


def test_the_sender_of_a_broadcast_from_gets_its_position_instead(channel_case, room):
    other = channel_case.connect().join("room:1")
    room.push("say to others", {"n": 1})
    other.assert_push("said", {"n": 1})
    room.refute_push("said")
    room.assert_push("history_position", {"epoch": ANY, "offset": 1})
    assert room.position["offset"] == 1


@pytest.mark.parametrize(("serializer", "announced"), [("v2_json", True), ("v2_msgpack", False)])
def test_the_position_of_bytes_comes_as_the_serializer_carries_it(channel_case, serializer, announced):
    room = channel_case.connect(serializer=serializer, transport="websocket")
    room = room.join("room:1", {"history": {}})
    channel_case.broadcast("room:1", "picture", b"\x00\xff")
    channel_case.connect().join("room:1", {"history": {"last": 1}}).assert_push("picture", offset=1)
    room.assert_push("picture", b"\x00\xff", offset=1)
    if announced:
        room.assert_push("history_position", {"epoch": ANY, "offset": 1, "event": "picture"})
    room.refute_push("history_position")


def test_bytes_do_not_move_the_position_of_a_client_that_cannot_receive_them(channel_case):
    room = channel_case.connect(serializer="v1_json").join("room:1", {"history": {}})
    channel_case.broadcast("room:1", "picture", b"\x00\xff")
    assert room.position["offset"] == 0
    channel_case.broadcast("room:1", "said", {})
    room.assert_push("said", offset=2)


def test_intercepted_events_are_not_kept_and_have_no_position(channel_case):
    room = channel_case.connect().join("secret:1", {"history": {}})
    channel_case.broadcast("secret:1", "secret", {"pin": 1})
    channel_case.broadcast("secret:1", "open", {})
    room.assert_push("secret", {"hidden": True}, offset=None)
    room.assert_push("open", offset=1)


def test_a_background_loop_gets_a_recorded_broadcast_once(channel_case):
    async def read():
        async with endpoint.subscribe("room:*") as broadcasts:
            for number in (1, 2):
                endpoint.broadcast("room:1", "said", {"n": number})
            return [(await anext(aiter(broadcasts))).payload for _ in range(2)]

    assert channel_case.run(read()) == [{"n": 1}, {"n": 2}]


def test_a_case_with_histories_has_nothing_to_wait_for(channel_case, room):
    room.push("say", {"n": 1})
    assert not channel_case.busy()


def test_the_memory_of_all_histories_is_limited_as_the_application_says():
    settings = {"history": {"max_bytes": 100_000, "store": "redis"}}
    case = ChannelCase(Endpoint({"/socket": UserSocket}, settings=settings))
    try:
        for topic in ("room:1", "room:2"):
            case.broadcast(topic, "said", {"text": "x" * 60_000})
        assert case.run(case.endpoint.history("room:1")) == []
        (kept,) = case.run(case.endpoint.history("room:2"))
        assert kept.event == "said"
    finally:
        case.close()
