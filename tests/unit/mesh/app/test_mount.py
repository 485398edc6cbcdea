import pytest

from mesh import Channel, Endpoint, Mount, SessionCookie, SocketHandler
from mesh.errors import ApplicationError


class Room(Channel):
    pass


class User(SocketHandler):
    channels = {"room:*": Room}


def test_one_mount_may_stand_at_several_paths():
    mount = Mount(User, longpoll=True)
    endpoint = Endpoint({"/a": mount, "/b": mount, "/c": User})
    assert [each.path for each in endpoint.mounts.values()] == ["/a", "/b", "/c"]
    assert [each.longpoll for each in endpoint.mounts.values()] == [True, True, False]
    assert mount.path == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"websocket": False}, "without any transport"),
        ({"subprotocols": "chat"}, "want a list of tokens"),
        ({"subprotocols": ["with space"]}, "want a list of tokens"),
        ({"subprotocols": [1]}, "want a list of tokens"),
        (
            {"check_origin": False, "session": SessionCookie("s", lambda _: None, check_csrf=False)},
            "check_origin and check_csrf are both off",
        ),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ApplicationError, match=words):
        Mount(User, **options)


def test_auth_token_lets_phoenix_be_answered():
    assert Mount(User, auth_token=True, subprotocols=["v1"]).subprotocols == ("phoenix", "v1")
