"""mesh/app/channel.py: declaring handlers, and what a channel may send, without any node."""

import asyncio

import pytest

from mesh import Channel, Reply, Socket, SocketHandler, error, ok, on, refuse
from mesh.errors import ChannelError, UnhandledEventError


class Recorder:
    """A ChannelContext that writes down what the channel does."""

    def __init__(self):
        self.done = []

    def __getattr__(self, name):
        return lambda *args: self.done.append((name, *args))


def make(channel=Channel):
    recorder = Recorder()
    return channel(recorder, Socket("users:1", {"a": 1}, "websocket", "v2_json"), "room:1"), recorder.done


def test_handlers_are_found_by_event_and_inherited():
    class Base(Channel):
        @on("a", "b")
        def one(self, payload): ...

    class Derived(Base):
        @on("b")
        def two(self, payload): ...

        def one(self, payload): ...

    assert Derived.handlers == {"a": "one", "b": "two"}
    assert Base.handlers == {"a": "one", "b": "one"}


def test_two_handlers_for_one_event_are_an_error():
    with pytest.raises(ChannelError, match="one and two both handle 'a'"):

        class Doubled(Channel):
            @on("a")
            def one(self, payload): ...

            @on("a")
            def two(self, payload): ...


def test_an_intercept_without_handle_out_is_an_error():
    with pytest.raises(ChannelError, match="without handle_out"):

        class Deaf(Channel):
            intercept = ("a",)

    with pytest.raises(ChannelError, match="want a tuple"):

        class Text(Channel):
            intercept = "a"

            def handle_out(self, event, payload): ...


@pytest.mark.parametrize(
    ("base", "name", "value"),
    [
        (Channel, "spread", "sockets"),
        (Channel, "log_join", "verbose"),
        (Channel, "log_handle_in", 10),
        (SocketHandler, "log", "INFO"),
    ],
)
def test_an_attribute_with_a_value_there_is_not_is_an_error(base, name, value):
    with pytest.raises(ChannelError, match=f"Wrong.{name} is {value!r}; want"):
        type("Wrong", (base,), {name: value})


def test_an_event_must_be_a_string():
    with pytest.raises(ChannelError, match="not a string"):

        class Wrong(Channel):
            @on(7)
            def one(self, payload): ...


def test_an_event_without_handler_raises():
    channel, _ = make()
    with pytest.raises(UnhandledEventError, match="'nobody'"):
        channel.handle_in("nobody", {})


def test_what_a_channel_sends_goes_to_its_context():
    channel, done = make()
    channel.push("e", {"n": 1})
    channel.broadcast("e", {"n": 2})
    channel.broadcast_from("e", {"n": 3})
    channel.reply({"n": 4})
    channel.stop("shutdown", reply=ok())
    channel.send("message", 1.5)
    channel.timeout(30)
    assert done == [
        ("push", "e", {"n": 1}),
        ("broadcast", "e", {"n": 2}, True),
        ("broadcast", "e", {"n": 3}, False),
        ("reply", None, "ok", {"n": 4}),
        ("reply", None, "ok", {}),
        ("stop", "shutdown"),
        ("send", "message", 1.5),
        ("timeout", 30),
    ]
    assert channel.assigns == {"a": 1}


def test_assigns_are_merged_from_names_a_mapping_or_a_function_of_them():
    channel, _ = make()
    assert channel.assign(b=2) == {"a": 1, "b": 2}
    assert channel.assign({"b": 3, "c": 4}, d=5) == {"a": 1, "b": 3, "c": 4, "d": 5}
    channel.assign(lambda assigns: {"a": assigns["a"] + 1})
    assert channel.assigns == channel.assign() == {"a": 2, "b": 3, "c": 4, "d": 5}


def test_sending_can_be_awaited():
    channel, _ = make()

    async def scenario():
        assert await channel.push("e", {}) is None
        assert await channel.broadcast("e", {}) is None

    asyncio.run(scenario())


def test_none_is_a_payload_and_no_payload_is_the_empty_object():
    assert [each.payload for each in (ok(), error(), refuse(), Reply())] == [{}, {}, {}, {}]
    assert [each.payload for each in (ok(None), error(None), refuse(None), Reply(None))] == [None] * 4
    assert ok().payload is not ok().payload  # whoever changes one does not change the others
    channel, done = make()
    channel.reply()
    channel.reply(None)
    channel.stop("normal", ok(None))
    assert [each[3] for each in done if each[0] == "reply"] == [{}, None, None]


def test_replies_say_their_status():
    assert ok({"a": 1}) == Reply({"a": 1}, "ok")
    assert error() == Reply({}, "error")
    assert refuse("no") == Reply({"reason": "no"}, "error")
    assert refuse({"code": 1}) == Reply({"code": 1}, "error")


def test_a_policy_for_slow_consumers_that_is_none_is_refused_when_the_class_is_made():
    with pytest.raises(ChannelError, match=r"Wrong.slow_consumer is 'drop'; want one of \('close', "):
        type("Wrong", (Channel,), {"slow_consumer": "drop"})
    for number in (0, -1, 1.5, True, None):
        with pytest.raises(ChannelError, match=r"max_behind_messages is .*; want an int of at least 1"):
            type("Wrong", (Channel,), {"max_behind_messages": number})
    right = type("Right", (Channel,), {"slow_consumer": "latest_only", "max_behind_messages": 1})
    assert type("Sub", (right,), {}).slow_consumer == "latest_only"
