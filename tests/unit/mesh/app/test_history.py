"""mesh/app/history.py: which broadcasts an application keeps."""

import asyncio

import pytest

from mesh import Channel, Endpoint, History, KeptBroadcast, SocketHandler
from mesh.app.channel import RemoteChannel
from mesh.app.history import MAX_BYTES, MAX_MESSAGES, NEVER_KEPT, ChannelHistory, check_range
from mesh.errors import ChannelError


class RoomChannel(Channel):
    history = History(messages=10, except_events=("typing",))


class PlainChannel(Channel):
    pass


def kept(**mounts):
    """The kept topics of mounts, each a dict of routes."""
    handlers = {
        f"/{name}": type(name, (SocketHandler,), {"channels": channels})
        for name, channels in mounts.items()
    }
    return Endpoint(sockets=handlers).kept_topics


# The declaration


def test_the_defaults_are_100_messages_of_5_minutes():
    assert History() == History(100, 300.0, 1_000_000, None, ())
    assert not History().cached
    assert History(messages=1).cached


@pytest.mark.parametrize(
    ("given", "about"),
    [
        ({"messages": 0}, "messages is 0"),
        ({"messages": MAX_MESSAGES + 1}, "messages is 100001; want an integer from 1 to 100,000"),
        ({"messages": 1.5}, "messages is 1.5"),
        ({"messages": True}, "messages is True"),
        ({"messages": None}, "messages is None"),
        ({"bytes": 0}, "bytes is 0"),
        ({"bytes": MAX_BYTES + 1}, "bytes is 64000001"),
        ({"bytes": "1"}, "bytes is '1'"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": -1}, "seconds is -1"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"seconds": "5"}, "seconds is '5'"),
        ({"seconds": True}, "seconds is True"),
        ({"events": "new_msg"}, "events is 'new_msg'; want a tuple"),
        ({"events": 5}, "events is 5; want a tuple"),
        ({"events": ()}, "events is empty"),
        ({"events": (7,)}, "7"),
        ({"events": ("phx_reply",)}, "phx_reply"),
        ({"except_events": "typing"}, "except_events is 'typing'; want a tuple"),
        ({"except_events": (b"",)}, "event b'' is not a string"),
        ({"events": ("a",), "except_events": ("b",)}, "either events or except_events"),
        ({"events": ("presence_diff",)}, "'presence_diff' in events is never kept"),
        ({"events": ("a", "disconnect")}, "'disconnect' in events is never kept"),
        ({"events": ("a", "")}, "'' in events is never kept"),
    ],
)
def test_an_invalid_history_is_an_error_that_names_the_value(given, about):
    with pytest.raises(ChannelError, match=r"\A.*") as caught:
        History(**given)
    assert about in str(caught.value)


def test_the_largest_values_are_valid():
    assert History(MAX_MESSAGES, 10**9, MAX_BYTES, events=["a"]).messages == MAX_MESSAGES


def test_a_class_cannot_keep_what_it_intercepts():
    def declare(history, intercept):
        return type(
            "Room", (Channel,), {"history": history, "intercept": intercept, "handle_out": lambda *_: None}
        )

    with pytest.raises(ChannelError, match=r"Room\.history keeps 'a', which the class intercepts"):
        declare(History(events=("a", "b")), ("a",))
    both = declare(History(), ("a",))
    with pytest.raises(ChannelError, match=r"Sub\.history keeps 'b'"):
        type("Sub", (both,), {"history": History(events=("b",)), "intercept": ("b",)})


def test_a_history_of_another_type_is_an_error():
    with pytest.raises(ChannelError, match=r"Room\.history is 5; want a mesh\.History or None"):
        type("Room", (Channel,), {"history": 5})


def test_a_channel_of_another_language_cannot_have_a_history():
    with pytest.raises(ChannelError, match="only Python workers record a history"):
        type("Sensor", (RemoteChannel,), {"history": History()})
    type("Sensor", (RemoteChannel,), {"history": None})


def test_an_instance_reads_the_history_of_its_topic():
    class Context:
        async def history(self, limit, before):
            return [KeptBroadcast(limit, "e", before, 0.0)]

    channel = RoomChannel(Context(), None, "room:1")
    assert isinstance(RoomChannel.history, History)
    assert isinstance(channel.history, ChannelHistory)
    assert asyncio.run(channel.history.list()) == [(50, "e", None, 0.0)]
    assert asyncio.run(channel.history.list(7, before=3)) == [(7, "e", 3, 0.0)]
    assert PlainChannel(None, None, "room:1").history is None


@pytest.mark.parametrize(
    ("limit", "before", "about"),
    [
        (0, None, "limit is 0"),
        (True, None, "limit is True"),
        ("5", None, "limit is '5'"),
        (1, 0, "before is 0"),
        (1, 1.0, "before is 1.0"),
        (1, True, "before is True"),
    ],
)
def test_the_range_of_a_query_is_checked(limit, before, about):
    check_range(1, None)
    check_range(10**9, 2**60)
    with pytest.raises(ChannelError, match=about):
        check_range(limit, before)


# Topics and events


def test_an_application_without_histories_keeps_nothing():
    topics = kept(socket={"room:*": PlainChannel})
    assert not topics
    assert list(topics) == []
    assert topics.find("room:1") is None
    assert not topics.keeps("room:1", "e")


def test_all_events_but_the_excluded_ones_are_kept():
    topics = kept(socket={"room:*": RoomChannel, "*": PlainChannel})
    assert topics
    assert topics.keeps("room:1", "new_msg")
    for event in ("typing", *NEVER_KEPT):
        assert not topics.keeps("room:1", event)
    assert not topics.keeps("other", "new_msg")


def test_only_the_named_events_are_kept():
    topics = kept(socket={"room:*": type("Room", (Channel,), {"history": History(events=("new_msg",))})})
    assert topics.keeps("room:1", "new_msg")
    assert not topics.keeps("room:1", "other")


def test_intercepted_events_are_not_kept():
    members = {"history": History(), "intercept": ("secret",), "handle_out": lambda *_: None}
    topics = kept(socket={"room:*": type("Room", (Channel,), members)})
    assert topics.keeps("room:1", "open")
    assert not topics.keeps("room:1", "secret")


def test_the_first_route_of_a_mount_decides_as_for_a_join():
    topics = kept(socket={"room:lobby": PlainChannel, "room:*": RoomChannel})
    assert topics.find("room:lobby") is None
    assert topics.find("room:1").key == ("/socket", "room:*")
    assert topics.find("room:1").history is RoomChannel.history
    assert topics.find("elsewhere") is None


def test_the_first_mount_whose_route_has_a_history_decides():
    first = type("First", (Channel,), {"history": History(messages=1)})
    second = type("Second", (Channel,), {"history": History(messages=2)})
    topics = kept(
        plain={"room:*": PlainChannel, "*": PlainChannel},
        mixed={"room:hidden": PlainChannel, "room:*": first},
        last={"*": second},
    )
    assert topics.find("room:1").key == ("/mixed", "room:*")
    assert topics.find("room:hidden").key == ("/last", "*")
    assert topics.find("other").history.messages == 2
    assert [route.key for route in topics] == [("/mixed", "room:*"), ("/last", "*")]


def test_what_was_found_is_remembered_for_a_bounded_number_of_topics(monkeypatch):
    monkeypatch.setattr("mesh.app.history._REMEMBERED_TOPICS", 10)
    topics = kept(socket={"room:*": RoomChannel})
    for number in range(100):
        for topic in (f"room:{number}", f"other:{number}"):
            assert topics.find(topic) is topics.find(topic)
            assert (topics.find(topic) is None) == topic.startswith("other")
        assert len(topics._found) <= 10
