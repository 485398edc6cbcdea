"""mesh/endpoint.py and mesh/socket.py: declaring an application, and errors at start."""

import pytest

from mesh import Channel, Endpoint, Route, SocketHandler
from mesh.errors import ApplicationError, RouteError, TopicError
from mesh.pubsub import PubSub


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
