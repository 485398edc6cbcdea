"""mesh/protocol/positions.py: how a client learns the positions of broadcasts."""

import json

import pytest

from mesh.errors import EncodeError
from mesh.protocol import positions
from mesh.protocol.messages import BINARY, JSON
from mesh.protocol.serializers.registry import BY_NAME
from mesh.protocol.serializers.text_only import TextOnly

V1, V2, PACKED = (BY_NAME[name] for name in ("v1_json", "v2_json", "v2_msgpack"))


def encode(serializer, codec, data, topic="room:1"):
    return positions.encode_broadcast(serializer, topic, "e", codec, data, "k3v9", 7)


def test_text_has_the_position_in_its_ref():
    for serializer in (V1, V2, TextOnly(V1), TextOnly(V2)):
        (frame,) = encode(serializer, JSON, b"{}")
        assert frame == serializer.encode_broadcast("room:1", "e", JSON, b"{}", "k3v9:7")


def test_bytes_without_a_ref_follow_their_position():
    before, frame = encode(V2, BINARY, b"\x00")
    position = {"epoch": "k3v9", "offset": 7, "event": "e"}
    assert json.loads(before.data) == [None, None, "room:1", "history_position", position]
    assert frame == V2.encode_broadcast("room:1", "e", BINARY, b"\x00")
    assert len(encode(PACKED, BINARY, b"\x00")) == 1


def test_what_cannot_be_encoded_has_no_position_either():
    for serializer in (V1, TextOnly(V1), TextOnly(V2), TextOnly(PACKED)):
        with pytest.raises(EncodeError):
            encode(serializer, BINARY, b"\x00")
    with pytest.raises(EncodeError):
        encode(V2, BINARY, b"\x00", "t" * 256)


def test_the_payloads_are_json():
    assert json.loads(positions.encode_state("k3v9", 7, True, 2)) == {
        "epoch": "k3v9",
        "offset": 7,
        "recovered": True,
        "count": 2,
    }
    frame = positions.encode_position(V2, "room:1", "k3v9", 7)
    position = {"epoch": "k3v9", "offset": 7}
    assert json.loads(frame.data) == [None, None, "room:1", "history_position", position]
