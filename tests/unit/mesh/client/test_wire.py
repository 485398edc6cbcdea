"""The client's side of V2: what it sends the server's serializers read, what they send it reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.client import wire
from mesh.client.actions import Send
from mesh.client.events import Received
from mesh.errors import ChannelError, DecodeError, EncodeError, PayloadError
from mesh.protocol import payloads
from mesh.protocol.serializers.base import Frame
from mesh.protocol.serializers.registry import MSGPACK, negotiate

SERVER = {"json": negotiate("2.0.0"), "msgpack": MSGPACK}
FORMATS = st.sampled_from(["json", "msgpack"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
PAYLOADS = st.binary(max_size=50) | st.dictionaries(TEXT, VALUES, max_size=3)


@given(FORMATS, TEXT, TEXT, PAYLOADS)
def test_the_server_reads_what_is_sent(format, topic, event, payload):
    frame = wire.encode(format, Send("1", "22", topic, event, payload))
    message = SERVER[format].decode(*frame)
    assert (message.join_ref, message.ref, message.topic, message.event) == ("1", "22", topic, event)
    assert payloads.decode(message.codec, message.data) == payload


@given(FORMATS, TEXT, TEXT, PAYLOADS)
def test_what_the_server_sends_is_read(format, topic, event, payload):
    codec, data = payloads.encode(payload)
    serializer = SERVER[format]
    assert wire.decode(format, serializer.encode_broadcast(topic, event, codec, data)) == Received(
        None, None, topic, event, payload
    )
    assert wire.decode(format, serializer.encode_push("7", topic, event, codec, data)) == Received(
        "7", None, topic, event, payload
    )
    reply = {"status": "ok", "response": payload}
    assert wire.decode(format, serializer.encode_reply("7", "8", topic, "ok", codec, data)) == Received(
        "7", "8", topic, "phx_reply", reply
    )


@given(FORMATS, st.binary(max_size=60), st.booleans())
def test_garbage_is_a_decode_error_and_nothing_else(format, data, binary):
    try:
        wire.decode(format, Frame(data, binary))
    except DecodeError:
        pass


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b"", True),
        Frame(b"\x03\x00", True),
        Frame(b"\x01\x01", True),
        Frame(b"\x02\x05\x05a", True),
        Frame(b"\x02\x01\x01\xff\xff", True),
        Frame(b"[1,2,3,4]", False),
        Frame(b"{}", False),
        Frame(b"[" * 100_000, False),
    ],
)
def test_what_is_no_message(frame):
    with pytest.raises(DecodeError):
        wire.decode("json", frame)


def test_a_payload_is_encoded_when_it_is_pushed():
    payload = {"n": 1}
    prepared = wire.prepare("json", "t", "e", payload)
    payload["n"] = 2
    assert wire.encode("json", Send("1", "2", "t", "e", prepared)).data == b'["1","2","t","e",{"n":1}]'
    assert wire.prepare("json", "t", "e", None).data == b"null"
    assert wire.prepare("msgpack", "t", "e", None).data == b"\xc0"


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_what_cannot_be_sent(format):
    with pytest.raises(PayloadError):
        wire.prepare(format, "t", "e", {"x": object()})
    with pytest.raises(ChannelError, match="event 7"):
        wire.prepare(format, "t", 7, {})
    with pytest.raises(ChannelError, match="surrogate"):
        wire.prepare(format, "t", "\ud800", {})


def test_a_long_topic_cannot_carry_bytes_in_json():
    with pytest.raises(EncodeError, match="255"):
        wire.prepare("json", "t" * 256, "e", b"")
    assert wire.prepare("msgpack", "t" * 256, "e", b"").data == b""
