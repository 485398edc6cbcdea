"""ChannelCase: connecting, joining, and what is refused."""

import asyncio

import pytest

from mesh import ConnectInfo, Endpoint, Mount, refuse
from mesh.errors import ApplicationError
from mesh.testing import ChannelCase, ConnectRefused, JoinRefused
from mesh.testing import channel_case as channel_case_module
from tests.unit.mesh.testing.case_app import UserSocket


def test_connect_runs_the_callback_of_the_application(channel_case):
    socket = channel_case.connect({"user": "bo"}, info=ConnectInfo("websocket", user_agent="me"))
    assert (socket.id, socket.assigns) == ("users:bo", {"user": "bo", "agent": "me"})
    with pytest.raises(ConnectRefused, match="refused") as caught:
        channel_case.connect({"token": "bad"})
    assert caught.value.returned == refuse("bad token")
    with pytest.raises(ConnectRefused, match="returned 'yes'"):
        channel_case.connect({"token": "nonsense"})


def test_a_mistake_in_a_test_is_an_application_error_not_a_refusal(channel_case):
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


def test_path_variables_become_parameters():
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


def test_a_connect_that_hangs_fails_the_test(channel_case, monkeypatch):
    monkeypatch.setattr(channel_case_module, "CONNECT_SECONDS", 0.01)
    with pytest.raises(AssertionError, match=r"UserSocket\.connect took over 0\.01 seconds"):
        channel_case.connect({"token": "hangs"})
    with pytest.raises(TimeoutError, match="its own"):
        channel_case.connect({"token": "times out"})


def test_use_from_async_code_is_an_error_that_says_what_to_do(channel_case):
    async def test():
        channel_case.connect()

    with pytest.raises(ApplicationError, match="plain `def` test"):
        asyncio.run(test())


def test_a_socket_can_be_made_without_connect(channel_case):
    socket = channel_case.socket(id="users:9", assigns={"user": "nine"})
    assert (socket.id, socket.assigns) == ("users:9", {"user": "nine"})


def test_a_join_returns_its_reply_or_raises_its_refusal(channel_case):
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


def test_a_crashed_join_carries_its_exception(channel_case):
    with pytest.raises(JoinRefused, match="join crashed") as caught:
        channel_case.connect().join("room:1", {"crash": True})
    assert str(caught.value.__cause__) == "crashed on request"


def test_settings_of_the_endpoint_apply():
    small = Endpoint({"/socket": UserSocket}, settings={"worker": {"join_timeout_seconds": 0.005}})
    case = ChannelCase(small)
    with pytest.raises(JoinRefused, match="join crashed") as caught:
        case.connect().join("room:1", {"slow": True})
    assert "join_timeout_seconds" in str(caught.value.__cause__)
    case.close()
