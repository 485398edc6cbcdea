"""gateway/http/head.py: heads of requests, whole and in pieces."""

import time
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.http.head import HeadError, HeadReader, check

PLAIN = b"GET /a?b=%zz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_plain_head_is_left_as_it_is():
    assert check(PLAIN) == PLAIN


def test_the_host_of_an_absolute_target_replaces_the_header():
    head = b"GET https://a.example:8443/x//y?z HTTP/1.0\r\nX: 1\r\nhost : b\r\nY: 2\r\n\r\n"
    assert check(head) == b"GET /x//y?z HTTP/1.0\r\nHost: a.example:8443\r\nX: 1\r\nY: 2\r\n\r\n"


@given(st.lists(st.integers(1, len(PLAIN) - 1), max_size=6))
def test_a_head_is_found_whatever_the_pieces(cuts):
    data = b"\r\n" + PLAIN + b"the rest"
    cuts = sorted({0, *(cut for cut in cuts), len(data)})
    reader, found = HeadReader(1_000), None
    for start, end in pairwise(cuts):
        found = found or reader.feed(data[start:end])
    assert found is not None
    head, rest = found
    assert head == PLAIN
    assert (b"the rest").startswith(rest)


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"GET /" + b"a" * 1_000, 414), (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000, 431), (b"\x00", 400)],
)
def test_what_is_refused_is_refused_early(data, status):
    with pytest.raises(HeadError) as caught:
        HeadReader(500).feed(data)
    assert caught.value.status == status


def test_a_head_that_trickles_in_is_searched_once():
    reader, started = HeadReader(65_536), time.process_time()
    reader.feed(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(65_000):
        assert reader.feed(b"a") is None
    assert time.process_time() - started < 4


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(data):
    with suppress(HeadError):
        HeadReader(100).feed(data)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a",
        "a.example:80",
        "a_b",
        "a-b.",
        "1.2.3.4",
        "[::1]",
        "[::ffff:1.2.3.4]:443",
        "a:",
        "%61",
        "xn--a",
    ],
)
def test_hosts_are_names_and_addresses(host):
    head = f"GET / HTTP/1.1\r\nHost: {host} \r\n\r\n".encode()
    assert check(head) == head


@pytest.mark.parametrize(
    "host", ["[::1", "::1", "[", "[]", "[:::]", "[1.2.3.4]", "[fe80::1%eth0]", "a:b", "a:1:2", "a b", "a,b", "a/b", "u@a", "\xff", "a:123456"]
)  # fmt: skip
def test_what_is_no_host_is_refused(host):
    for head in (
        f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET http://{host}/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        if (host, head[:5]) == ("a/b", "GET h"):
            continue  # `a`, and a path
        with pytest.raises(HeadError) as caught:
            check(head.encode("latin-1"))
        assert caught.value.status == 400


@pytest.mark.parametrize("value", ["100-continue", "100-Continue", "\t100-CONTINUE "])
def test_expectations_have_no_case_and_http_1_0_has_none(value):
    head = "POST / HTTP/1.{}\r\nHost: a\r\nexpect:" + value + "\r\nX: 1\r\n\r\n"
    assert (
        check(head.format(1).encode())
        == b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nX: 1\r\n\r\n"
    )
    assert check(head.format(0).encode()) == b"POST / HTTP/1.0\r\nHost: a\r\nX: 1\r\n\r\n"


def test_whether_the_answer_has_content_is_known_in_time():
    for data, expected in (
        (b"HEAD / HTTP/1.1\r\nX", True),
        (b"GET / HTTP/1.1\r\n", False),
        (b"HEADS ", False),
    ):
        reader = HeadReader(100)
        reader.feed(data)
        assert reader.asks_for_head is expected
