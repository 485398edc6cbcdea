"""V1: objects with exactly four keys out, at least four in."""

import json

import pytest

from mesh.errors import DecodeError, EncodeError
from mesh.protocol.messages import BINARY, JSON, Message
from mesh.protocol.serializers.v1_json import V1JSON

V1 = V1JSON()


@pytest.mark.parametrize("binary", [False, True])
def test_the_opcode_does_not_matter_and_extra_keys_are_ignored(binary):
    data = b'{"topic":"room:X","event":"phx_join","payload":{"a":1},"ref":1,"more":[]}'
    assert V1.decode(data, binary) == Message(None, 1, "room:X", "phx_join", JSON, b'{"a":1}')


def test_a_join_ref_is_honoured():
    assert (
        V1.decode(b'{"topic":"t","event":"e","payload":{},"ref":"1","join_ref":"9"}', False).join_ref == "9"
    )


@pytest.mark.parametrize("missing", ["topic", "event", "payload", "ref"])
def test_a_missing_key_is_an_error(missing):
    message = {"topic": "t", "event": "e", "payload": {}, "ref": None}
    del message[missing]
    with pytest.raises(DecodeError):
        V1.decode(json.dumps(message).encode(), False)


@pytest.mark.parametrize(
    ("captured", "frame"),
    [
        ({"event": "phx_reply", "payload": {"response": {"topic": "room:X"}, "status": "ok"},
          "ref": "1", "topic": "room:X"},
         V1.encode_reply(None, "1", "room:X", "ok", JSON, b'{"topic":"room:X"}')),
        ({"event": "new_msg", "payload": {"n": 1}, "ref": None, "topic": "room:X"},
         V1.encode_broadcast("room:X", "new_msg", JSON, b'{"n":1}')),
        ({"event": "pushed", "payload": {"n": 1}, "ref": None, "topic": "room:X"},
         V1.encode_push("1", "room:X", "pushed", JSON, b'{"n":1}')),
        ({"event": "phx_close", "payload": {}, "ref": None, "topic": "room:X"},
         V1.encode_end(None, "room:X", "phx_close", b"{}")),
        ({"event": "phx_close", "payload": {}, "ref": "9", "topic": "room:X"},
         V1.encode_end("9", "room:X", "phx_close", b"{}")),
    ],
)  # fmt: skip
def test_a_conversation_as_captured(captured, frame):
    assert not frame.binary
    assert json.loads(frame.data) == captured


def test_what_goes_out_has_exactly_four_keys():
    for frame in (
        V1.encode_reply("1", "2", "t", "ok", JSON, b"{}"),
        V1.encode_push("1", "t", "e", JSON, b"{}"),
        V1.encode_broadcast("t", "e", JSON, b"{}"),
        V1.encode_end("1", "t", "phx_close", b"{}"),
    ):
        assert sorted(json.loads(frame.data)) == ["event", "payload", "ref", "topic"]
    assert json.loads(V1.encode_end(None, "t", "phx_close", b"{}").data)["ref"] is None


def test_bytes_cannot_be_expressed():
    for encode in (V1.encode_push, V1.encode_broadcast, V1.encode_reply):
        arguments = {
            "encode_push": ("1", "t", "e"),
            "encode_broadcast": ("t", "e"),
            "encode_reply": ("1", "2", "t", "ok"),
        }
        with pytest.raises(EncodeError, match=r"vsn 2\.0\.0"):
            encode(*arguments[encode.__name__], BINARY, b"")
