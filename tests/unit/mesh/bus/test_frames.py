"""mesh/bus/frames.py: the header, and the example of docs/protocol.md."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus.frames import (
    BROADCAST,
    VERSION,
    Header,
    Received,
    decode_direct,
    decode_header,
    encode_direct,
    encode_header,
    encode_resent,
)
from mesh.errors import MeshError, WireError
from mesh.protocol.messages import Sender

SENDERS = st.none() | st.builds(
    Sender, st.text(max_size=9), st.integers(0, 2**50), st.booleans(), st.integers(0, 2**50)
)


@given(
    st.builds(
        Header,
        st.just(VERSION),
        st.integers(0, 9),
        st.text(),
        st.integers(0, 2**60),
        st.text(),
        st.integers(0, 9),
        SENDERS,
    )
)
def test_a_header_round_trips(header):
    assert decode_header(encode_header(header)) == Received(
        *msgspec.structs.astuple(header)[:6], header.sender
    )
    assert decode_header(encode_resent(encode_header(header), 1234)).age == 1234


@pytest.mark.parametrize("letter", ["n", "\u00e9", "\U0001f600"])
def test_an_origin_is_at_most_255_bytes_long(letter):
    longest = letter * (255 // len(letter.encode()))
    assert decode_header(encode_header(Header(VERSION, BROADCAST, longest, 1, "e", 0))).origin == longest
    with pytest.raises(WireError, match="origin is over 255 bytes"):
        decode_header(encode_header(Header(VERSION, BROADCAST, longest + letter, 1, "e", 0)))


@given(st.binary(max_size=40))
def test_garbage_is_a_wire_error_and_nothing_else(data):
    try:
        decode_header(data)
    except WireError:
        pass


def test_the_documented_bytes():
    header = Header(VERSION, BROADCAST, "n", 5, "new_msg", 0)
    assert encode_header(header).hex(" ") == "97 01 01 a1 6e 05 a7 6e 65 77 5f 6d 73 67 00 c0"


def test_another_version_is_not_read():
    with pytest.raises(WireError, match="version 2"):
        decode_header(encode_header(Header(2, BROADCAST, "n", 5, "e", 0)))


@given(st.text().filter(lambda text: "\x00" not in text), st.binary(max_size=40))
def test_a_direct_broadcast_carries_its_topic_before_its_payload(topic, data):
    assert decode_direct(encode_direct(topic, data)) == (topic, data)


@given(st.binary(max_size=40))
def test_garbage_instead_of_a_direct_broadcast_is_a_mesh_error(data):
    try:
        decode_direct(data)
    except MeshError:
        pass


def test_the_documented_direct_broadcast():
    assert encode_direct("room:1", b'{"a":1}').hex(" ") == "72 6f 6f 6d 3a 31 00 7b 22 61 22 3a 31 7d"


def test_a_header_with_a_negative_number_is_malformed():
    for header in (
        [1, 1, "n", -1, "e", 0, None],
        [1, 11, "n", 1, "e", 0, None, None, ["k3v9", 1, 1, "m", -1]],
    ):
        with pytest.raises(WireError, match=r"int.*>= 0"):
            decode_header(msgspec.msgpack.encode(header))
