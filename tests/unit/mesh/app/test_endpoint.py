"""mesh/app/endpoint.py and mesh/app/socket.py: declaring an application, and errors at start."""

import pytest

from mesh import Channel, Endpoint, Route, SocketHandler
from mesh.app.pubsub import PubSub
from mesh.errors import ApplicationError, ChannelError, RouteError, TopicError
from mesh.protocol.messages import Sender


class Room(Channel):
    pass


class User(SocketHandler):
    channels = {"room:*": Room}
    assigns = {"a": []}


class Bus:
    def __init__(self):
        self.published = []

    def publish(self, *args):
        self.published.append(args)
        return len(self.published)

    node = "node-1"

    def publish_direct(self, *args):
        self.published.append(("direct", *args))
        return len(self.published)

    def subscription(self, *args):
        return args


def test_mounts_carry_their_routes_in_order():
    class Other(SocketHandler):
        channels = [Route("room:x", Room), Route("room:*", Room, assigns={"b": 1})]

    endpoint = Endpoint({"/socket": User, "/other/:tenant": Other})
    assert [route.pattern for route in endpoint.mounts["/other/:tenant"].routes.routes] == [
        "room:x",
        "room:*",
    ]


@pytest.mark.parametrize("path", ["socket", "/", "", "/a b", "/socket/", 7])
def test_a_mount_that_is_no_path_is_an_error(path):
    with pytest.raises(ApplicationError, match="not a path"):
        Endpoint({path: User})


def test_what_is_no_handler_or_no_channel_is_an_error():
    class Wrong(SocketHandler):
        channels = {"room:*": object}

    class NoRoute(SocketHandler):
        channels = [("room:*", Room)]

    with pytest.raises(ApplicationError, match="not a SocketHandler"):
        Endpoint({"/socket": Room})
    with pytest.raises(RouteError, match="not a Channel class"):
        Endpoint({"/socket": Wrong})
    with pytest.raises(RouteError, match="not a Route"):
        Endpoint({"/socket": NoRoute})


def test_a_handler_without_callbacks_accepts_anonymously_with_its_own_assigns():
    one, two = User(), User()
    one.assigns["b"] = 1
    assert one.connect({}, None) is None
    assert one.id() is None
    assert "b" not in two.assigns


def test_broadcast_needs_a_running_node():
    endpoint = Endpoint({"/socket": User})
    with pytest.raises(ApplicationError, match="not running"):
        endpoint.broadcast("room:1", "e", {})
    bus = Bus()
    endpoint.bind(PubSub(bus))
    endpoint.broadcast("room:1", "e", {"a": 1})
    endpoint.disconnect("users:1")
    assert bus.published == [
        ("room:1", "e", 0, b'{"a":1}', None),
        ("users:1", "disconnect", 0, b"{}", None),
    ]
    with pytest.raises(TopicError):
        endpoint.broadcast("$nodes", "e", {})


class Context:
    """Of a channel that runs nowhere."""

    def sender(self):
        return Sender("g", 7, True, 3)


def test_from_anywhere_one_can_skip_a_channel_name_a_node_and_subscribe():
    endpoint, bus = Endpoint({"/socket": User}), Bus()
    endpoint.bind(PubSub(bus))
    endpoint.broadcast_from(Room(Context(), None, "room:1"), "room:2", "e", {})
    endpoint.broadcast_from(None, "room:2", "e", {})
    endpoint.direct_broadcast("node-2", "room:1", "e", b"\x00")
    assert bus.published == [
        ("room:2", "e", 0, b"{}", Sender("g", 7, True, 3)),
        ("room:2", "e", 0, b"{}", None),
        ("direct", "node-2", "room:1", "e", 1, b"\x00"),
    ]
    assert endpoint.node_id == "node-1"
    assert endpoint.subscribe("room:*") == ("room:*", 1_000)
    assert endpoint.subscribe("room:1", max_queued=7) == ("room:1", 7)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda endpoint: endpoint.broadcast_from("me", "room:1", "e", {}), ChannelError, "'me'"),
        (lambda endpoint: endpoint.direct_broadcast("", "room:1", "e", {}), TopicError, "not a node id"),
        (
            lambda endpoint: endpoint.direct_broadcast("a\x00b", "room:1", "e", {}),
            TopicError,
            "not a node id",
        ),
        (
            lambda endpoint: endpoint.direct_broadcast("\ud800", "room:1", "e", {}),
            TopicError,
            "not a node id",
        ),
        (lambda endpoint: endpoint.direct_broadcast("n", "$room", "e", {}), TopicError, "reserved"),
        (lambda endpoint: endpoint.subscribe("a*b"), TopicError, "not at its end"),
        (lambda endpoint: endpoint.subscribe("$nodes"), TopicError, "reserved"),
        (lambda endpoint: endpoint.subscribe("a", max_queued=0), ChannelError, "at least 1"),
    ],
)
def test_from_anywhere_what_cannot_be_is_told(call, error, words):
    endpoint = Endpoint({"/socket": User})
    endpoint.bind(PubSub(Bus()))
    with pytest.raises(error, match=words):
        call(endpoint)
