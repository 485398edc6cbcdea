"""Request lines and headers over raw sockets: each is answered, however malformed."""

import pytest

from tests.integration.http.requests import UPGRADE
from tests.support.processes import serve
from tests.support.raw_http import RawHTTP, ask, say
from tests.support.websocket import PhoenixClient, RawWebSocket, run


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("OPTIONS * HTTP/1.1", 204),
        ("GET * HTTP/1.1", 400),
        ("CONNECT localhost:443 HTTP/1.1", 501),
        ("CONNECT /socket/websocket HTTP/1.1", 501),
        ("TRACE / HTTP/1.1", 405),
        ("BREW / HTTP/1.1", 405),
        ("GET localhost:80 HTTP/1.1", 400),
        ("GET http:/// HTTP/1.1", 400),
        ("GET http://user@localhost/ HTTP/1.1", 400),
        ("GET ftp://localhost/ HTTP/1.1", 400),
        ("GET http://localhost?a=1 HTTP/1.1", 200),
        ("GET /%zz HTTP/1.1", 400),
        ("GET /% HTTP/1.1", 400),
        ("GET /%C3%28 HTTP/1.1", 404),
        ("GET /?a=%zz HTTP/1.1", 200),
        ("GET /healthz HTTP/1.7", 200),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("GET /", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET / http/1.1", 400),
        ("G\x01T / HTTP/1.1", 400),
        ("", 400),
    ],
)
def test_a_request_line_is_answered(url, request_line, status):
    async def scenario():
        answer = await say(url, f"{request_line}\r\nHost: localhost\r\n\r\n".encode("latin-1"))
        assert answer.status == status
        assert b"Traceback" not in answer.body

    if request_line:
        run(scenario())
    else:  # empty lines before a request do not count
        assert run(say(url, b"\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    "data", [b"GET /\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
def test_bytes_that_are_not_http_1_are_answered_at_once(url, data):
    assert run(say(url, data)).status in (400, 505)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: a\r\nHost: b", 400),
        ("Host: a\r\nhost: a", 400),
        ("X: 1", 400),
        ("Host: a b", 400),
        ("Host: [::1", 400),
        ("Host: [:::]:80", 400),
        ("Host: a:b", 400),
        ("Host: [::1]:80", 200),
        ("Host:", 200),
        ("Host: a\r\n folded: 1", 400),
        ("Host: a\r\nno colon", 400),
        ("Host: a\r\nContent-Length: +1", 400),
        ("Host: a\r\nContent-Length: -1", 400),
        ("Host: a\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
        ("Host: a\r\nTransfer-Encoding: gzip", 400),
        ("Host: a\r\nRange: bytes=abc", 200),
        ("Host: a\r\nRange: bytes=99999999999999999999999-", 416),
        ("Host: a\r\nRange: bytes=1-0", 416),
        ("Host: a\r\nIf-Modified-Since: yesterday", 200),
        ("Host: a\r\nIf-Modified-Since: Mon, 01 Jan 99999 00:00:00 GMT", 200),
        ("Host: a\r\nIf-None-Match: \xff", 200),
        ("Host: a\r\nAccept-Encoding: " + "a," * 500, 200),
        ("Host: a\r\nCookie: a=\xff; ;;=", 200),
        ("Host: a\r\n" + "A: b\r\n" * 190 + "A: b", 200),
        ("Host: a\r\n" + "A: b\r\n" * 300 + "A: b", 431),
    ],
)
def test_odd_headers_never_give_500(url, headers, status):
    method = "POST" if "Content-Length" in headers or "Transfer" in headers else "GET"
    target = "/form" if method == "POST" else "/"
    answer = run(say(url, f"{method} {target} HTTP/1.1\r\n{headers}\r\n\r\nx".encode("latin-1")))
    assert answer.status == status


def test_the_host_of_an_absolute_target_takes_precedence(tmp_path):
    env = {"MESH_GATEWAY__URL_HOST": "example.org"}
    with serve(tmp_path, "tests.support.conn_origin_app:endpoint", env=env) as (_, url):

        async def scenario():
            origin = ("Origin: http://example.org", *UPGRADE)
            for host, status in (("example.org", 101), ("other.example", 403)):
                connection = await RawHTTP.connect(url)
                connection.request(f"http://{host}/socket/websocket?vsn=2.0.0", "GET", origin, host="x")
                assert (await connection.answer()).status == status
                connection.close()

        run(scenario())


def test_a_head_over_the_limit_is_answered(url):
    async def scenario():
        answer = await ask(url, "/?" + "a" * 5_000)
        assert (answer.status, b"gateway.max_head_bytes" in answer.body) == (414, True)
        answer = await ask(url, headers=["X: " + "a" * 5_000])
        assert (answer.status, b"gateway.max_head_bytes" in answer.body) == (431, True)
        assert answer.headers["connection"] == "close"
        answer = await ask(url, headers=["X: " + "a" * 5_000_000])
        assert answer.status == 431, "what follows is dropped, and does not destroy the answer"
        answer = await ask(url, "/socket/websocket?vsn=2.0.0", headers=[*UPGRADE, "X: " + "a" * 5_000])
        assert answer.status == 431
        assert (await ask(url, "/?" + "a" * 3_900)).status == 200

    run(scenario())


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [
        ("/healthz", "DELETE", "GET, HEAD"),
        ("/app.js", "PATCH", "GET, HEAD"),
        ("/form", "PUT", "POST"),
        ("/api/broadcast", "GET", "POST"),
        ("/nowhere", "BREW", "GET, HEAD"),
    ],
)
def test_an_unsupported_method_is_answered_with_the_allowed_ones(url, target, method, allowed):
    answer = run(ask(url, target, method=method))
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("target", ["*", "http://u@x/", "/%zz", "/?" + "a" * 5_000])
def test_a_refused_head_request_is_answered_without_content(url, target):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request(target, "HEAD")
        answer = await connection.answer("HEAD")
        assert answer.status in (400, 414)
        assert int(answer.headers["content-length"]) > 0
        assert await connection.reader.read() == b""
        connection.close()

    run(scenario())


def test_pipelined_requests_are_answered_in_order(url):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 300)
        for _ in range(300):
            assert (await connection.answer()).status == 200
        connection.close()

    run(scenario())


def test_no_request_of_this_file_logged_a_traceback(server):
    """Runs last in this file; the fixture checks the log after the tests of all files."""
    process, url = server
    assert run(ask(url, "/healthz")).status == 200

    async def scenario():
        client = PhoenixClient(await RawWebSocket.connect(f"{url}/socket/websocket?vsn=2.0.0"))
        assert (await client.join("room:1"))[0] == "ok"
        client.close()

    run(scenario())
    assert "Traceback" not in process.log()


@pytest.mark.parametrize(
    "option", ["close", "TE, Close", "Upgrade,close", "keep-alive\r\nConnection: close"]
)
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/healthz", 200),
        ("/nothing", 404),
        ("/socket/longpoll?vsn=2.0.0", 200),
        ("/socket/websocket?vsn=9", 403),
    ],
)
def test_a_connection_ends_when_close_is_among_the_options(url, option, target, status):
    headers = [each for each in UPGRADE if not each.startswith("Connection")]

    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request(target, headers=[*headers, f"Connection: {option}"])
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert await connection.ended()

    run(scenario())
