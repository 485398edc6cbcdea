"""Request targets: sockets, the API, static files and handlers are found by the segments of a path."""

import pytest

from tests.integration.http.requests import UPGRADE, post_api
from tests.support.raw_http import RawHTTP, ask
from tests.support.websocket import run


@pytest.mark.parametrize(
    "path",
    [
        "/socket/websocket",
        "/socket/websocket/",
        "//socket/websocket",
        "/socket//websocket",
        "///socket///websocket///",
        "/s%6Fcket/websocket",
        "/s%6fcket/web%73ocket/",
        "/tenants/acme//socket/websocket/",
        "http://localhost/socket/websocket",
        "HTTP://localhost:4000//socket/websocket/",
    ],
)
def test_a_socket_is_found_by_its_segments(url, path):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request(f"{path}?vsn=2.0.0", headers=UPGRADE)
        assert (await connection.answer()).status == 101
        connection.close()

    run(scenario())


@pytest.mark.parametrize(
    ("path", "tenant"),
    [("a%2Fb", "a/b"), ("a%20b", "a b"), ("%C3%A9", "é"), ("a%2525", "a%25"), ("é", "é")],
)
def test_a_variable_of_a_path_is_decoded_once(url, path, tenant):
    async def scenario():
        raw = path.encode().decode("latin-1")
        for transport in ("websocket", "longpoll"):
            target = f"/tenants//{raw}/socket/{transport}/?vsn=2.0.0"
            connection = await RawHTTP.connect(url)
            connection.request(target, headers=UPGRADE if transport == "websocket" else ())
            answer = await connection.answer()
            assert answer.status == (101 if transport == "websocket" else 200)
            status, _, _ = await post_api(url, "disconnect", {"socket_id": f"user:{tenant}"})
            assert status == 200
            if transport == "websocket":  # its id was found
                assert await connection.ended()
            connection.close()

    run(scenario())


@pytest.mark.parametrize("path", ["/api", "//api/", "/%61pi"])
def test_the_api_is_found_by_its_segments(url, path):
    message = {"topic": "room:1", "event": "a", "payload": {}}
    assert run(post_api(url, "broadcast", message, path)).status == 200


def test_longpoll_health_and_static_are_found_by_their_segments(url):
    async def scenario():
        assert (await ask(url, "//socket//longpoll/?vsn=2.0.0")).body.startswith(b'{"status":410,"token"')
        assert (await ask(url, "/healthz/")).status == 200
        assert (await ask(url, "//assets//app.js/")).body == b"script"
        assert (await ask(url, "/%61pp%2Ejs")).body == b"script"

    run(scenario())


def test_handlers_of_the_application_receive_the_path_unchanged(url):
    async def scenario():
        assert (await ask(url, "/own/?a=%20")).body == b"/own/?a=%20"
        assert (await ask(url, "/own")).status == 404
        assert (await ask(url, "http://localhost/own/")).body == b"/own/"

    run(scenario())
