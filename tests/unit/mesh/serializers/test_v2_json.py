"""V2: the bytes of PHOENIX-WIRE."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import DecodeError, EncodeError
from mesh.messages import BINARY, JSON, MSGPACK, Message
from mesh.serializers.base import Frame
from mesh.serializers.v2_json import V2JSON

V2 = V2JSON()
REFS = st.none() | st.text(max_size=8) | st.integers(-(2**40), 2**40) | st.booleans()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def text(frame):
    assert not frame.binary
    return json.loads(frame.data)


@given(REFS, REFS, JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_any_five_elements_are_a_message_and_the_payload_keeps_its_bytes(
    join_ref, ref, topic, event, payload
):
    raw = json.dumps(payload, indent=1)
    whole = f"[{json.dumps(join_ref)}, {json.dumps(ref)},{json.dumps(topic)},{json.dumps(event)},{raw}]"
    message = V2.decode(whole.encode(), False)
    assert message == Message(join_ref, ref, topic, event, JSON, raw.encode())


@given(st.binary(max_size=80), st.booleans())
def test_garbage_is_a_decode_error_and_nothing_else(data, binary):
    try:
        V2.decode(data, binary)
    except DecodeError:
        pass


@pytest.mark.parametrize(
    "data",
    ["[]", "[1,2,3,4]", "{}", "7", "nope", '["1","1","t","e",{]', '["1","1","t","e",{}] x',
     '["1","1","t","e",{"a":1e999}]', '[1e999,"1","t","e",{}]', '["1","1","t","e","\\ud800"]',
     '["1","1","t","e",' + "[" * 5000 + "]" * 5000 + "]"],
)  # fmt: skip
def test_what_phoenix_cannot_decode_is_an_error(data):
    with pytest.raises(DecodeError):
        V2.decode(data.encode(), False)


def test_extra_elements_are_ignored():
    assert V2.decode(b'["1","2","t","e",{},7,8]', False).data == b"{}"


def test_replies_pushes_broadcasts_and_ends_as_captured():
    assert text(V2.encode_reply("1", "2", "room:X", "ok", JSON, b'{"o":1}')) == [
        "1", "2", "room:X", "phx_reply", {"response": {"o": 1}, "status": "ok"}
    ]  # fmt: skip
    assert V2.encode_push("1", "room:X", "pushed", JSON, b"{}") == Frame(
        b'["1",null,"room:X","pushed",{}]', False
    )
    assert V2.encode_broadcast("room:X", "new_msg", JSON, b'{"n":1}') == Frame(
        b'[null,null,"room:X","new_msg",{"n":1}]', False
    )
    assert V2.encode_end("1", "room:X", "phx_close", b"{}") == Frame(
        b'["1","1","room:X","phx_close",{}]', False
    )


def test_binary_frames_as_captured():
    assert V2.decode(b"\x00\x01\x02\x06\x03177room:Xbin\x00\xff", True) == Message(
        "1", "77", "room:X", "bin", BINARY, b"\x00\xff"
    )
    assert V2.encode_reply("1", "77", "room:X", "ok", BINARY, b"d") == Frame(
        b"\x01\x01\x02\x06\x02177room:Xokd", True
    )
    assert V2.encode_broadcast("room:X", "new_msg", BINARY, b"d") == Frame(
        b"\x02\x06\x07room:Xnew_msgd", True
    )
    assert V2.encode_push("1", "room:X", "pushed", BINARY, b"d") == Frame(
        b"\x00\x01\x06\x061room:Xpushedd", True
    )
    assert V2.encode_push(None, "t", "e", BINARY, b"") == Frame(b"\x00\x00\x01\x01te", True)
    assert V2.encode_reply(7, None, "t", "ok", BINARY, b"") == Frame(b"\x01\x01\x00\x01\x027tok", True)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01\x00\x00\x00\x00", b"\x02\x01\x01te", b"\x00\x01\x01\x01\x01abc",
                                  b"\x00\x00\x00\x01\x00\xff"])  # fmt: skip
def test_broken_binary_frames_are_errors(data):
    with pytest.raises(DecodeError):
        V2.decode(data, True)


@given(
    st.tuples(*[st.text(max_size=60).filter(lambda t: len(t.encode("utf-8", "replace")) < 256)] * 4),
    st.binary(max_size=50),
)
def test_binary_pushes_round_trip(fields, data):
    try:
        encoded = [field.encode() for field in fields]
    except UnicodeEncodeError:
        return
    frame = bytes([0, *map(len, encoded)]) + b"".join(encoded) + data
    assert V2.decode(frame, True) == Message(*fields, BINARY, data)


def test_a_field_over_255_bytes_cannot_stand_in_a_binary_frame():
    with pytest.raises(EncodeError, match="256 bytes"):
        V2.encode_broadcast("x" * 256, "e", BINARY, b"")
    assert not V2.encode_broadcast("x" * 256, "e", JSON, b"{}").binary


def test_a_codec_it_does_not_know_is_an_encode_error():
    with pytest.raises(EncodeError):
        V2.encode_broadcast("t", "e", MSGPACK, b"")
