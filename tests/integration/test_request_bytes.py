"""Bytes beyond ASCII, broken escapes and odd cookies in a request: each way into a gateway reads them alike."""

import asyncio
import json

import pytest

from tests.integration.test_handshake import flask, starlette
from tests.support.processes import serve
from tests.support.until import PATIENCE
from tests.support.websocket import HANDSHAKE, PhoenixClient, RawWebSocket, open_connection, run

KEY = "a-key-of-20-letters-or-so"
# Our own handshake leaves requests with a body to Tornado; one of length 0 changes nothing else.
WAYS = {"websocket": {}, "websocket by Tornado": {"Content-Length": "0"}, "longpoll": {}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    env = {"MESH_API__KEYS": KEY}
    with serve(tmp_path_factory.mktemp("serve"), "tests.support.mounts_app:endpoint", env=env) as found:
        yield found


@pytest.fixture(scope="module")
def base(running):
    return running[1]


async def exchange(base, method, target, lines=(), body=b""):
    """(status, body) of one request; all of it may be any bytes. Of a 101 the body is the connection."""
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await open_connection(host, int(port))
    head = [method.encode() + b" " + target + b" HTTP/1.1", f"Host: {host}:{port}".encode(), *lines]
    if body:
        head.append(b"Content-Length: %d" % len(body))
    writer.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
    async with asyncio.timeout(PATIENCE):
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if " 101 " in answer:
            return 101, PhoenixClient(RawWebSocket(reader, writer))
        length = int(answer.partition("content-length:")[2].partition("\r\n")[0] or 0)
        return int(answer.split()[1]), await reader.readexactly(length)


async def open_by(base, way, path, query=b"", headers=()):
    """(status, body, what connect was told) of a request to connect."""
    transport = way.split()[0]
    target = path + b"/" + transport.encode() + b"?vsn=2.0.0" + query
    lines = [name.encode() + b": " + value.encode() for name, value in WAYS[way].items()]
    if transport == "websocket":
        lines += [f"{name}: {value}".encode() for name, value in HANDSHAKE.items()]
    status, body = await exchange(base, "GET", target, [*lines, *headers])
    if status == 101:
        assert (await body.join("info:1"))[0] == "ok"
        return status, b"", (await body.push("info:1", "me"))[1]
    if transport == "longpoll" and status == 200:
        return status, body, await told_by_poll(base, path, json.loads(body)["token"])
    return status, body, None


async def told_by_poll(base, path, token):
    target = path + b"/longpoll?vsn=2.0.0&token=" + token.encode()
    for ref, event in (("1", "phx_join"), ("2", "me")):
        message = json.dumps(["1", ref, "info:1", event, {}]).encode()
        assert (await exchange(base, "POST", target, body=message))[0] == 200
    while True:
        _, body = await exchange(base, "GET", target)
        for message in map(json.loads, json.loads(body)["messages"]):
            if message[1] == "2":
                return message[4]["response"]


@pytest.mark.parametrize("way", WAYS)
def test_text_beyond_ascii_arrives_escaped_or_not(base, way):
    async def scenario():
        raw = "ü".encode()
        for user in (raw, b"%C3%BC"):
            status, _, info = await open_by(base, way, b"/any", b"&user=" + user + b"&" + user + b"[a]=1")
            assert status in (101, 200)
            assert (info["params"]["user"], info["params"]["ü"]) == ("ü", {"a": "1"})
            assert info["uri"].endswith(f"&user={user.decode()}&{user.decode()}[a]=1")
        for tenant in (raw, b"%C3%BC", b"%c3%bc"):
            status, _, info = await open_by(base, way, b"/tenants/" + tenant)
            assert info["params"]["tenant"] == "ü"
        status, _, info = await open_by(base, way, b"/tenants/a+b%20c", b"&a=a+b%20c")
        assert (info["params"]["tenant"], info["params"]["a"]) == ("a+b c", "a b c")

    run(scenario())


@pytest.mark.parametrize("way", WAYS)
def test_headers_that_connect_is_told_are_utf8_or_latin1(base, way):
    async def scenario():
        headers = [b"X-City: " + "Zürich".encode(), b"X-Town: K\xf6ln", b"User-Agent: " + "ü".encode()]
        _, _, info = await open_by(base, way, b"/any", b"", headers)
        assert (info["x_headers"]["x-city"], info["x_headers"]["x-town"]) == ("Zürich", "Köln")
        assert info["user_agent"] == "ü"

    run(scenario())


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_utf8_is_a_400_that_says_why(running, way):
    process, base = running

    async def scenario():
        for wrong in (b"%", b"%z", b"%zz", b"%ff", b"\xff", b"\xc3", b"%ed%a0%80"):
            for path, query in (
                (b"/any", b"&a=" + wrong),
                (b"/any", b"&" + wrong + b"=a"),
                (b"/tenants/" + wrong, b""),
            ):
                status, body, _ = await open_by(base, way, path, query)
                assert (status, b"in the request target" in body) == (400, True), (path, query, body)

    run(scenario())
    assert "Traceback" not in process.log()


def test_every_request_of_long_poll_is_read_by_the_same_rule(base):
    async def scenario():
        for target in (
            b"/any/longpoll?token=%ff",
            b"/any/longpoll?token=\xff",
            b"/tenants/%zz/longpoll?token=a",
        ):
            for method in ("GET", "POST"):
                status, body = await exchange(base, method, target, body=b"[]" if method == "POST" else b"")
                assert (status, b"in the request target" in body) == (400, True), (method, target)

    run(scenario())


def test_the_publishing_api_says_so_in_json(base):
    async def scenario():
        lines = [f"Authorization: Bearer {KEY}".encode()]
        body = json.dumps({"topic": "info:1", "event": "e", "payload": {}}).encode()
        status, answer = await exchange(base, "POST", b"/api/broadcast?a=%ff", lines, body)
        assert (status, "in the request target" in json.loads(answer)["error"]) == (400, True)
        assert (await exchange(base, "POST", b"/api/broadcast?a=%C3%BC", lines, body))[0] == 200

    run(scenario())


SESSION = {"user": 7, "_csrf_token": "right"}
OTHERS = [
    starlette({"user": 8, "_csrf_token": "right"}, "another application's own secret"),
    starlette({"user": 9, "_csrf_token": "another"}),
    starlette([1]),
    "garbage",
    "",
    '"quoted"',
    "ünïcode",
    "x" * 4_500,
]


@pytest.mark.parametrize("way", WAYS)
def test_the_session_is_found_among_cookies_of_the_same_name(base, way):
    async def seen(*cookies):
        headers = [b"Cookie: " + each.encode() for each in cookies]
        status, _, info = await open_by(base, way, b"/starlette", b"&_csrf_token=right", headers)
        assert status in (101, 200)
        return info["session"]

    async def scenario():
        own = f"session={starlette(SESSION)}"
        for other in OTHERS:
            assert await seen(f"{own}; session={other}") == SESSION, other
            assert await seen(f"session={other}; {own}") == SESSION, other
            assert await seen(f"session={other}", own) == SESSION, other
            assert await seen(own, f"session={other}") == SESSION, other
        first = starlette({**SESSION, "user": 1})
        assert (await seen(f"session={first}; {own}"))["user"] == 1, "the more specific path comes first"
        assert await seen(f'session="{starlette(SESSION)}"; =1; b; ;') == SESSION
        assert await seen("; ".join(f"c{number}=1" for number in range(400)), own) == SESSION
        assert await seen("; ".join(f"session={number}" for number in range(400))) is None

    run(scenario())


def test_the_csrf_token_may_have_any_name_in_the_session(base):
    async def scenario():
        own, other = flask({"csrf_token": "right"}), flask({"csrf_token": "other"})
        headers = [f"Cookie: session={other}; session={own}".encode()]
        _, _, info = await open_by(base, "websocket", b"/flask", b"&_csrf_token=right", headers)
        assert info["session"] == {"csrf_token": "right"}

    run(scenario())
