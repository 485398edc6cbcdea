"""mesh/protocol/serializers/binary.py: the layouts of Phoenix, byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import DecodeError, EncodeError
from mesh.protocol.messages import BINARY, Message
from mesh.protocol.serializers import binary

TOPIC = "room:" + "t" * 17  # 0x16 bytes, as captured
FIELD = st.text(max_size=60)
DATA = st.binary(max_size=40)


def packed(kind, *fields, data=b""):
    encoded = [field.encode() for field in fields]
    return bytes([kind, *map(len, encoded)]) + b"".join(encoded) + data


def unpacked(frame, count):
    """As phoenix.js reads: kind, `count` fields, data."""
    at, fields = 1 + count, []
    for size in frame[1 : 1 + count]:
        fields.append(frame[at : at + size].decode())
        at += size
    return frame[0], fields, frame[at:]


def test_a_push_as_captured():
    frame = bytes.fromhex("00 01 02 16 03") + b"1" + b"77" + TOPIC.encode() + b"bin" + b"\x00\xff"
    assert binary.decode_push(frame) == Message("1", "77", TOPIC, "bin", BINARY, b"\x00\xff")


def test_a_reply_a_broadcast_and_a_server_push_as_captured():
    topic = TOPIC.encode()
    assert binary.encode_reply("1", "77", TOPIC, "ok", b"d") == b"\x01\x01\x02\x16\x02177" + topic + b"okd"
    assert binary.encode_broadcast(TOPIC, "new_msg", b"d") == b"\x02\x16\x07" + topic + b"new_msgd"
    assert binary.encode_push("1", TOPIC, "pushed", b"d") == b"\x00\x01\x16\x061" + topic + b"pushedd"


def test_an_empty_join_ref_is_the_empty_string_not_null():
    assert binary.decode_push(packed(0, "", "", "t", "e")) == Message("", "", "t", "e", BINARY, b"")


def test_null_goes_out_as_a_field_of_no_length_and_a_number_as_its_digits():
    assert binary.encode_reply(None, None, "t", "ok", b"") == b"\x01\x00\x00\x01\x02tok"
    assert binary.encode_reply(0, 12, "t", "ok", b"") == b"\x01\x01\x02\x01\x02012tok"
    assert binary.encode_push(None, "t", "e", b"") == b"\x00\x00\x01\x01te"


@given(FIELD, FIELD, FIELD, FIELD, DATA)
def test_what_a_client_packs_is_read_as_it_was(join_ref, ref, topic, event, data):
    frame = packed(0, join_ref, ref, topic, event, data=data)
    assert binary.decode_push(frame) == Message(join_ref, ref, topic, event, BINARY, data)


@given(FIELD, FIELD, FIELD, FIELD, DATA)
def test_what_the_server_packs_is_read_by_the_client_as_it_was(join_ref, ref, topic, event, data):
    reply = binary.encode_reply(join_ref, ref, topic, event, data)
    assert unpacked(reply, 4) == (1, [join_ref, ref, topic, event], data)
    push = binary.encode_push(join_ref, topic, event, data)
    assert unpacked(push, 3) == (0, [join_ref, topic, event], data)
    assert unpacked(binary.encode_broadcast(topic, event, data), 2) == (2, [topic, event], data)


def test_a_push_cut_off_anywhere_before_its_data_is_an_error():
    whole = packed(0, "1", "77", TOPIC, "bin")
    for length in range(len(whole)):
        with pytest.raises(DecodeError):
            binary.decode_push(whole[:length])
    assert binary.decode_push(whole).data == b""


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 255])
def test_a_client_may_only_push(kind):
    with pytest.raises(DecodeError, match="not a V2 binary push"):
        binary.decode_push(packed(kind, "1", "2", "t", "e"))


@pytest.mark.parametrize("position", range(4))
def test_a_field_that_is_not_utf8_is_an_error(position):
    fields = [b"1", b"2", b"t", b"e"]
    fields[position] = b"\xff"
    with pytest.raises(DecodeError, match="utf-8"):
        binary.decode_push(b"\x00\x01\x01\x01\x01" + b"".join(fields))


def test_a_field_holds_255_bytes_of_utf8_and_not_one_more():
    assert binary.encode_broadcast("ü" * 127 + "x", "e", b"")[1] == 255
    for encode in (
        lambda long: binary.encode_broadcast(long, "e", b""),
        lambda long: binary.encode_push("1", "t", long, b""),
        lambda long: binary.encode_push(long, "t", "e", b""),
        lambda long: binary.encode_reply("1", "2", "t", long, b""),
        lambda long: binary.encode_reply("1", long, "t", "ok", b""),
    ):
        with pytest.raises(EncodeError, match="256 bytes"):
            encode("ü" * 128)


@given(st.binary(max_size=60))
def test_garbage_is_a_decode_error_and_nothing_else(data):
    for frame in (data, b"\x00" + data):
        try:
            binary.decode_push(frame)
        except DecodeError:
            pass
