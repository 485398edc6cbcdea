"""V2: the bytes as captured from Phoenix."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import DecodeError, EncodeError
from mesh.protocol.messages import BINARY, JSON, Message
from mesh.protocol.serializers.base import Frame
from mesh.protocol.serializers.v2_json import V2JSON

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


OK, ERROR = "ok", "error"
CONVERSATION = [
    ([None, "1", "phoenix", "phx_reply", {"response": {}, "status": "ok"}],
     V2.encode_reply(None, "1", "phoenix", OK, JSON, b"{}")),
    (["1", "1", "room:X", "phx_reply", {"response": {"topic": "room:X"}, "status": "ok"}],
     V2.encode_reply("1", "1", "room:X", OK, JSON, b'{"topic":"room:X"}')),
    (["1", "1", "room:private", "phx_reply", {"response": {"reason": "unauthorized"}, "status": "error"}],
     V2.encode_reply("1", "1", "room:private", ERROR, JSON, b'{"reason":"unauthorized"}')),
    ([None, "1", "nope:x", "phx_reply", {"response": {"reason": "unmatched topic"}, "status": "error"}],
     V2.encode_reply(None, "1", "nope:x", ERROR, JSON, b'{"reason":"unmatched topic"}')),
    ([None, 2, 3, "phx_reply", {"response": {"reason": "unmatched topic"}, "status": "error"}],
     V2.encode_reply(None, 2, 3, ERROR, JSON, b'{"reason":"unmatched topic"}')),
    ([None, None, "room:X", "new_msg", {"n": 1}], V2.encode_broadcast("room:X", "new_msg", JSON, b'{"n":1}')),
    (["1", None, "room:X", "pushed", {"a": 1}], V2.encode_push("1", "room:X", "pushed", JSON, b'{"a":1}')),
    (["1", "1", "room:X", "phx_error", {}], V2.encode_end("1", "room:X", "phx_error", b"{}")),
    (["1", "1", "room:X", "phx_close", {}], V2.encode_end("1", "room:X", "phx_close", b"{}")),
    ([None, None, "room:X", "phx_close", {}], V2.encode_end(None, "room:X", "phx_close", b"{}")),
]  # fmt: skip


@pytest.mark.parametrize(("captured", "frame"), CONVERSATION)
def test_a_conversation_as_captured(captured, frame):
    assert text(frame) == captured


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'[null,"1","phoenix","heartbeat",{}]', Message(None, "1", "phoenix", "heartbeat", JSON, b"{}")),
        (b'["1","1","room:X","phx_join",{}]', Message("1", "1", "room:X", "phx_join", JSON, b"{}")),
        (b'["1","2","room:X","echo",{"o":1}]', Message("1", "2", "room:X", "echo", JSON, b'{"o":1}')),
        (b"[1,2,3,4,5]", Message(1, 2, 3, 4, JSON, b"5")),
        (b'[null,0,"t","e",null]', Message(None, 0, "t", "e", JSON, b"null")),
        (b' [ "1" , "2" ,\n"room:\\u00fc", "e",\t[ 1 ] ] ', Message("1", "2", "room:ü", "e", JSON, b"[ 1 ]")),
    ],
)  # fmt: skip
def test_what_clients_say_as_captured(said, message):
    assert V2.decode(said, False) == message


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


def test_a_field_over_255_bytes_cannot_stand_in_a_binary_frame():
    with pytest.raises(EncodeError, match="256 bytes"):
        V2.encode_broadcast("x" * 256, "e", BINARY, b"")
    assert not V2.encode_broadcast("x" * 256, "e", JSON, b"{}").binary
