"""gateway/transports/websocket/frames.py: a client's bytes, whole and in pieces, right and wrong."""

import os
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.util import _websocket_mask as mask

from mesh.errors import WebSocketError
from mesh.gateway.transports.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameReader,
    Received,
    close_code,
    close_frame,
    control_frame,
    message_frame,
)
from mesh.protocol.serializers.base import Frame


def client_frame(opcode, payload=b"", fin=True, rsv=0, length=None):
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    if length is not None:
        head = length
    elif size < 126:
        head = bytes([0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    key = os.urandom(4)
    return bytes([first]) + head + key + mask(key, payload)


def feed(*chunks, max_bytes=1_000_000):
    reader = FrameReader(max_bytes)
    messages = []
    for chunk in chunks:
        received, error = reader.feed(chunk)
        messages += received
        if error:
            return messages, error
    return messages, None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_message_of_any_size_is_read(size):
    payload = b"x" * size
    assert feed(client_frame(BINARY, payload)) == ([Received(BINARY, payload)], None)


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_messages_are_read_whatever_the_pieces(payloads, data):
    stream = b"".join(client_frame(BINARY, payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    messages, error = feed(*pieces)
    assert error is None
    assert [each.payload for each in messages] == payloads


def test_a_fragmented_message_is_put_together_around_a_ping():
    messages, error = feed(
        client_frame(TEXT, "h\u00e9".encode()[:2], fin=False),
        client_frame(PING, b"p"),
        client_frame(CONTINUATION, "h\u00e9".encode()[2:], fin=False),
        client_frame(CONTINUATION, b"llo"),
        client_frame(TEXT, b"next"),
    )
    assert error is None
    assert messages == [
        Received(PING, b"p"),
        Received(TEXT, "h\u00e9llo".encode()),
        Received(TEXT, b"next"),
    ]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(client_frame(TEXT, b"x", rsv=4), 1002, id="first reserved bit"),
        pytest.param(client_frame(TEXT, b"x", rsv=1), 1002, id="last reserved bit"),
        pytest.param(client_frame(3, b"x"), 1002, id="unknown message"),
        pytest.param(client_frame(0xB, b"x"), 1002, id="unknown control frame"),
        pytest.param(client_frame(CONTINUATION, b"x"), 1002, id="continuation of nothing"),
        pytest.param(
            client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y"),
            1002,
            id="message within a message",
        ),
        pytest.param(client_frame(PING, b"x", fin=False), 1002, id="fragmented ping"),
        pytest.param(client_frame(PING, b"x" * 126), 1002, id="long ping"),
        pytest.param(b"\x81\x01x", 1002, id="not masked"),
        pytest.param(
            client_frame(TEXT, b"xxxxx", length=b"\xfe\x00\x05"), 1002, id="short length in two bytes"
        ),
        pytest.param(
            client_frame(TEXT, b"", length=b"\xff" + (5).to_bytes(8, "big")),
            1002,
            id="short length in eight bytes",
        ),
        pytest.param(client_frame(TEXT, b"", length=b"\xff" + b"\xff" * 8), 1002, id="length of 64 bits"),
        pytest.param(client_frame(TEXT, b"\xff\xfe"), 1007, id="no UTF-8"),
        pytest.param(client_frame(TEXT, b"\xed\xa0\x80"), 1007, id="surrogate"),
        pytest.param(
            client_frame(TEXT, b"\xc3", fin=False) + client_frame(CONTINUATION, b"("),
            1007,
            id="UTF-8 broken between fragments",
        ),
        pytest.param(
            client_frame(TEXT, b"", length=b"\xff" + (1_000_001).to_bytes(8, "big")), 1009, id="too long"
        ),
        pytest.param(
            client_frame(TEXT, b"x" * 600_000, fin=False) + client_frame(CONTINUATION, b"x" * 600_000),
            1009,
            id="too long together",
        ),
    ],
)
def test_a_client_that_breaks_the_protocol_is_answered_with_the_right_code(frame, code):
    messages, error = feed(client_frame(TEXT, b"before"), frame)
    assert [each.payload for each in messages] == [b"before"]
    assert error is not None
    assert error.code == code


def test_an_oversized_frame_is_refused_by_its_header_alone():
    _, error = feed(client_frame(TEXT, b"x" * 200, fin=True)[:4], max_bytes=100)
    assert error is not None
    assert error.code == 1009


@given(st.binary(max_size=200))
def test_garbage_never_raises(data):
    feed(data)


def test_close_codes_that_may_be_sent_are_echoed_and_others_are_protocol_errors():
    assert close_code(b"") is None
    for code in (1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4000, 4999):
        assert close_code(code.to_bytes(2, "big") + b"bye") == code
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535):
        with pytest.raises(WebSocketError) as caught:
            close_code(code.to_bytes(2, "big"))
        assert caught.value.code == 1002
    with pytest.raises(WebSocketError):
        close_code(b"\x03")
    with pytest.raises(WebSocketError) as caught:
        close_code(b"\x03\xe8\xff")
    assert caught.value.code == 1007


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_ready_frame_is_final_and_unmasked(size):
    frame = message_frame(Frame(b"x" * size, False))
    assert frame[0] == 0x81
    assert not frame[1] & 0x80
    assert frame.endswith(b"x" * size)
    assert len(frame) == size + (2 if size < 126 else 4 if size < 65536 else 10)


def test_the_opcode_says_what_a_frame_is():
    assert message_frame(Frame(b"x", False))[0] == 0x81
    assert message_frame(Frame(b"x", True))[0] == 0x82
    assert control_frame(PONG, b"x" * 125) == b"\x8a\x7d" + b"x" * 125


def test_a_close_frame_carries_its_code():
    assert close_frame(1001) == b"\x88\x02\x03\xe9"
    assert close_frame(None) == b"\x88\x00"
    assert close_frame(1001, "x" * 200)[:2] == bytes([0x80 | CLOSE, 125])


def test_fragments_cost_only_their_bytes():
    reader = FrameReader(100_000, max_fragments=40_000)
    empty, two = client_frame(CONTINUATION, b"", fin=False), client_frame(CONTINUATION, b"xy", fin=False)
    tracemalloc.start()
    try:
        reader.feed(client_frame(TEXT, b"", fin=False))
        for _ in range(20):
            assert reader.feed(empty * 100 + two * 100) == ([], None)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000, "4,000 bytes have come, in 4,001 frames"
    assert reader.feed(client_frame(CONTINUATION, b"!")) == ([Received(TEXT, b"xy" * 2_000 + b"!")], None)


def test_a_message_has_a_bounded_number_of_frames():
    reader = FrameReader(100_000, max_fragments=3)
    three = client_frame(TEXT, b"", fin=False) + client_frame(CONTINUATION, b"", fin=False)
    three += client_frame(PING, b"p") + client_frame(CONTINUATION, b"x")
    for _ in range(3):  # counted for each message, control frames not
        assert reader.feed(three) == ([Received(PING, b"p"), Received(TEXT, b"x")], None)
    received, error = reader.feed(three[:-7] + 2 * client_frame(CONTINUATION, b"", fin=False))
    assert received == [Received(PING, b"p")]
    assert (error.code, str(error)) == (1008, "message of more than 3 frames (gateway.max_fragments)")


def test_a_control_frame_is_no_part_of_the_message_around_it():
    full = client_frame(TEXT, b"x" * 100, fin=False)
    messages, error = feed(full, client_frame(PING, b"p" * 125), client_frame(CONTINUATION), max_bytes=100)
    assert (messages, error) == ([Received(PING, b"p" * 125), Received(TEXT, b"x" * 100)], None)


def test_a_message_that_comes_byte_by_byte_costs_no_copy_of_it_for_each_byte():
    whole = client_frame(BINARY, os.urandom(400_000))
    reader = FrameReader(1_000_000)
    started = time.process_time()
    for number in range(len(whole) - 1):
        assert reader.feed(whole[number : number + 1])[0] == []
    (message,), error = reader.feed(whole[-1:])
    assert (len(message.payload), error) == (400_000, None)
    assert time.process_time() - started < 8, "copied each time it takes ten times as long as it should"
