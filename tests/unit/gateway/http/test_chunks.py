"""gateway/http/chunks.py: chunked bodies, whole and in pieces."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import RemoteProtocolError
from mesh.gateway.http.chunks import MAX_LINE_BYTES, MAX_TRAILER_BYTES, ChunkedBody

PLAIN = b'5\r\nhello\r\n1;a=b\r\n \r\n005 ; c="\xff d"\r\nworld\r\n0;x\r\nX: 1\r\nY:\r\n\r\n'


def whole(data):
    return ChunkedBody().feed(data)


def test_chunks_are_joined_and_extensions_and_trailers_ignored():
    assert whole(PLAIN + b"GET /") == (b"hello world", b"GET /")


@given(st.lists(st.integers(1, len(PLAIN) + 3), max_size=12))
def test_a_body_is_read_whatever_the_pieces(cuts):
    data = PLAIN + b"GET /"
    body, content, behind = ChunkedBody(), b"", None
    for start, end in pairwise(sorted({0, *cuts, len(data)})):
        if behind is None:
            piece, behind = body.feed(data[start:end])
            content += piece
        else:
            behind += data[start:end]
    assert (content, behind) == (b"hello world", b"GET /")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n", b"g\r\n", b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"-5\r\nhello\r\n", b"5_0\r\nhello", b" 5\r\nhello",
        b"5\nhello\n", b"5\rhello", b"5;a\rb\r\nhello\r\n", b"5;\x00\r\nhello\r\n", b"4\r\nhello\r\n", b"6\r\nhello\r\n",
        b"1" * 17 + b"\r\n", b"5;" + b"a" * MAX_LINE_BYTES + b"\r\nhello\r\n", b"5;" + b"a" * MAX_LINE_BYTES,
        b"0\r\n\n", b"0\r\nX\r\n\r\n", b"0\r\n X: 1\r\n\r\n", b"0\r\nX: 1\n\r\n\r\n",
        b"0\r\n" + b"X: 1\r\n" * 2_000, b"0\r\n" + b"X: 1\r\n" * 2_000 + b"\r\n", b"0\r\nX: " + b"a" * MAX_TRAILER_BYTES,
    ],
)  # fmt: skip
def test_what_is_no_chunked_body_is_refused(data):
    with pytest.raises(RemoteProtocolError):
        whole(data + b"0\r\n\r\n")


def test_what_is_not_complete_is_waited_for():
    for data in (
        b"",
        b"5",
        b"5\r",
        b"5;a",
        b"5\r\nhel",
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"0\r\n",
        b"0\r\nX: 1\r\n",
        b"0\r\n\r",
    ):
        assert whole(data)[1] is None


def test_very_small_chunks_take_linear_time():
    started = time.process_time()
    content, behind = whole(b"1;a\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
    assert (len(content), behind) == (100_000, b"")
    assert time.process_time() - started < 10


@given(st.binary(max_size=100))
def test_garbage_raises_nothing_else(data):
    try:
        whole(data)
    except RemoteProtocolError:
        pass
