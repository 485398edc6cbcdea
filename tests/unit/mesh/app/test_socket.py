"""mesh/app/socket.py: who connects, and which channels a handler declares."""

import pytest

from mesh import Channel, ConnectInfo, Route, Socket, SocketHandler, refuse
from mesh.errors import RouteError


class Room(Channel):
    pass


class Lobby(Channel):
    pass


def handler(declared):
    return type("UserSocket", (SocketHandler,), {"channels": declared})


def test_a_dict_declares_routes_in_its_order():
    routes = handler({"room:lobby": Lobby, "room:*": Room}).routes()
    assert routes.find("room:lobby").channel is Lobby
    assert routes.find("room:1").channel is Room
    assert routes.find("other") is None


def test_a_list_of_routes_may_carry_assigns_and_any_iterable_will_do():
    routes = handler(route for route in [Route("room:*", Room, assigns={"limit": 10})]).routes()
    assert routes.find("room:1").assigns == {"limit": 10}


def test_a_handler_without_channels_has_no_routes():
    assert SocketHandler.routes().routes == ()


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({"room:*": Room, "room:lobby": Lobby}, "UserSocket: route 'room:lobby' can never match"),
        ({"room:*": Room.join}, "not a Channel class"),
        ({"room:*": None}, "not a Channel class"),
        ([("room:*", Room)], "UserSocket.channels: .* is not a Route"),
        ({"$nodes": Room}, "reserved"),
    ],
)
def test_a_declaration_that_cannot_work_is_an_error_that_names_the_handler(declared, problem):
    with pytest.raises(RouteError, match=problem) as caught:
        handler(declared).routes()
    assert "UserSocket" in str(caught.value)


def test_a_handler_can_be_connected_in_a_plain_function():
    class UserSocket(SocketHandler):
        def connect(self, params, info):
            if params.get("token") != "secret":
                return refuse("no")
            self.assign({"user": params["user"]}, agent=info.user_agent)

        def id(self):
            return f"users:{self.assigns['user']}"

    accepted, refused = UserSocket(), UserSocket()
    info = ConnectInfo("websocket", user_agent="test")
    assert accepted.connect({"token": "secret", "user": "ana"}, info) is None
    assert (accepted.id(), accepted.assigns) == ("users:ana", {"user": "ana", "agent": "test"})
    assert refused.connect({}, info) == refuse("no")
    assert refused.assigns == {}


def test_what_connect_is_told_cannot_be_changed():
    info = ConnectInfo("websocket")
    assert (info.peer, info.uri, info.user_agent, info.x_headers) == (None, "", None, {})
    with pytest.raises(AttributeError):
        info.uri = "/other"


def test_a_sockets_fields_are_these_and_no_others():
    socket = Socket("users:1", {"a": 1}, "websocket", "v2_json")
    assert (socket.id, socket.assigns, socket.transport) == ("users:1", {"a": 1}, "websocket")
    with pytest.raises(AttributeError):
        socket.user = "ana"
