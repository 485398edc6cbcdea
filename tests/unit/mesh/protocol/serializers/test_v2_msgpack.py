"""format=msgpack: the five elements of V2 as one msgpack array."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import DecodeError, EncodeError, RemoteProtocolError
from mesh.protocol import payloads
from mesh.protocol.messages import BINARY, JSON, MSGPACK, Message
from mesh.protocol.serializers.registry import negotiate
from tests.contract.serializer_contract import DEEP, REFS, TEXT, VALUES

pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
serializer = negotiate("2.0.0", "msgpack")


def fits(value):
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    inside = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return all(map(fits, inside))


VALUES = VALUES.filter(fits)


@pytest.mark.parametrize(
    ("vsn", "format"), [("1.0.0", "msgpack"), ("2.0.0", "xml"), ("2.0.0", ["msgpack"])]
)
def test_formats_that_are_not_spoken(vsn, format):
    with pytest.raises(RemoteProtocolError, match="format"):
        negotiate(vsn, format)


def test_json_is_the_format_without_one():
    assert negotiate("2.0.0", "json") is negotiate("2.0.0") is negotiate("2.0.0", None)


@given(REFS, REFS, TEXT, TEXT, VALUES)
def test_a_message_is_read_and_its_payload_kept(join_ref, ref, topic, event, payload):
    raw = pack(payload)
    message = serializer.decode(pack([join_ref, ref, topic, event, msgspec.Raw(raw)]), True)
    assert message == Message(join_ref, ref, topic, event, MSGPACK, raw)
    assert payloads.decode(message.codec, message.data) == payload


def test_bin_is_a_binary_payload_and_inside_an_object_it_stays_bytes():
    message = serializer.decode(pack(["1", "2", "t", "e", b"\x00\xff"]), True)
    assert (message.codec, message.data) == (BINARY, b"\x00\xff")
    message = serializer.decode(pack(["1", "2", "t", "e", {"a": b"\x00"}]), True)
    assert payloads.decode(message.codec, message.data) == {"a": b"\x00"}


@given(VALUES)
def test_what_goes_out_is_the_same_whether_it_was_json_or_msgpack(payload):
    for codec, data in ((JSON, json.dumps(payload).encode()), (MSGPACK, pack(payload))):
        reply = serializer.encode_reply("1", 7, "t", "ok", codec, data)
        push = serializer.encode_push("1", "t", "e", codec, data)
        broadcast = serializer.encode_broadcast("t", "e", codec, data)
        assert reply.binary
        assert push.binary
        assert broadcast.binary
        assert unpack(reply.data) == ["1", 7, "t", "phx_reply", {"status": "ok", "response": payload}]
        assert unpack(push.data) == ["1", None, "t", "e", payload]
        assert unpack(broadcast.data) == [None, None, "t", "e", payload]


def test_bytes_and_ends_go_out():
    assert unpack(serializer.encode_broadcast("t", "e", BINARY, b"\xff").data) == [
        None,
        None,
        "t",
        "e",
        b"\xff",
    ]
    assert unpack(serializer.encode_end("1", "t", "phx_close", b"{}").data) == [
        "1",
        "1",
        "t",
        "phx_close",
        {},
    ]


def test_what_cannot_be_sent_is_an_encode_error():
    for codec, data in ((9, b""), (JSON, b'{"a":%d}' % 10**40), (JSON, b"{")):
        with pytest.raises(EncodeError):
            serializer.encode_broadcast("t", "e", codec, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pack([1, 2, 3, 4]),
        pack({"topic": "t"}),
        pack(["1", "2", "t", "e", {}])[:-1],
        pack(["1", "2", "t", "e", msgspec.msgpack.Ext(5, b"x")]),
        pack(["1", "2", "t", "e"])[:1].replace(b"\x94", b"\x95")
        + pack(["1", "2", "t", "e"])[1:]
        + b"\x91" * 3000,
        pack([DEEP, "2", "t", "e", {}]),
        b"\x95\xc0\xc0\xa1t\xa1e\xa2\xff\xff",
    ],
)
def test_what_is_no_message_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        serializer.decode(data, True)


def test_a_text_frame_is_a_decode_error():
    with pytest.raises(DecodeError, match="binary frame"):
        serializer.decode(b'["1","1","t","e",{}]', False)


@given(st.binary(max_size=60))
def test_bytes_at_random_are_a_decode_error_and_nothing_else(data):
    try:
        serializer.decode(data, True)
    except DecodeError:
        pass


def test_only_a_map_or_bytes_may_be_pushed():
    assert payloads.encode_object({"a": 1}, MSGPACK) == (MSGPACK, pack({"a": 1}))
    assert payloads.encode_object(dict.fromkeys(map(str, range(70_000))), MSGPACK)[0] == MSGPACK
    with pytest.raises(payloads.PayloadError, match="not an object"):
        payloads.encode_object([1], MSGPACK)
