"""gateway/http/upgrade_request.py: regular requests are read, all others left to Tornado."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.gateway.http.upgrade_request import parse

GOOD = (
    b"GET /socket/websocket?vsn=2.0.0&a%5Bb%5D=1 HTTP/1.1\r\nHost: localhost:4000\r\n"
    b"Connection: keep-alive, Upgrade\r\nUpgrade:websocket\r\nX-One: a\r\nx-one:\t b \r\n"
    b"X-Latin: \xfc\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_a_regular_request_is_read_as_tornado_reads_it():
    request = parse(GOOD)
    assert request is not None
    assert (request.path, request.query) == ("/socket/websocket", "vsn=2.0.0&a%5Bb%5D=1")
    assert request.full_url() == "http://localhost:4000/socket/websocket?vsn=2.0.0&a%5Bb%5D=1"
    headers = request.headers
    assert headers.get("x-one") == headers["x-one"] == "a,b"
    assert headers.get_list("x-one") == ["a", "b"]
    assert headers.get("x-latin") == "ü"
    assert headers.get("absent") is None
    assert headers.get_list("absent") == []
    assert "upgrade" in headers
    assert list(headers.get_all())[:2] == [
        ("host", "localhost:4000"),
        ("connection", "keep-alive, Upgrade"),
    ]


@pytest.mark.parametrize(
    "head",
    [
        GOOD[:-1],
        GOOD + b"\x81",
        GOOD.replace(b"GET", b"POST"),
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GOOD.replace(b"\r\n", b"\n"),
        GOOD.replace(b"/socket/", b"/soc%6bet/"),
        GOOD.replace(b"/socket/", b"http://localhost/socket/"),
        GOOD.replace(b"Host: localhost:4000\r\n", b""),
        GOOD.replace(b"Host:", b"Host: a\r\nHost:"),
        GOOD.replace(b"localhost:4000", b"local host"),
        GOOD.replace(b"localhost:4000", b"a,b"),
        GOOD.replace(b"X-One: a", b"X-One: a\r\n folded"),
        GOOD.replace(b"X-One: a", b"X-One : a"),
        GOOD.replace(b"X-One: a", b"no colon"),
        GOOD.replace(b"X-One: a", b"X-One: a\x00"),
        GOOD.replace(b"X-One: a", b"Content-Length: 3"),
        GOOD.replace(b"X-One: a", b"Transfer-Encoding: chunked"),
        GOOD.replace(b"X-One: a", b"Expect: 100-continue"),
        GOOD.replace(b"keep-alive, Upgrade", b"Upgrade, Close"),
        b"\x16\x03\x01",
    ],
)
def test_what_is_not_regular_is_left_to_tornado(head):
    assert parse(head) is None


@given(st.binary(max_size=300), st.integers(0, len(GOOD)))
@example(b" " * 8_000, 100)
def test_no_bytes_raise(junk, position):
    parse(junk)
    parse(GOOD[:position] + junk + GOOD[position:])
