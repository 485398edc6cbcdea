"""mesh/protocol/payloads.py: Python values and the bytes in transit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import DecodeError, PayloadError
from mesh.protocol import payloads
from mesh.protocol.messages import BINARY, JSON, MSGPACK

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(VALUES)
def test_json_comes_back_as_it_went(value):
    codec, data = payloads.encode(value)
    assert codec == JSON
    assert payloads.decode(codec, data) == value


@given(st.binary())
def test_bytes_come_back_as_they_went(data):
    for value in (data, bytearray(data), memoryview(data)):
        codec, encoded = payloads.encode(value)
        assert (codec, payloads.decode(codec, encoded)) == (BINARY, data)


def test_none_is_null():
    assert payloads.encode(None) == (JSON, b"null")
    assert payloads.encode(None, MSGPACK) == (MSGPACK, b"\xc0")


@pytest.mark.parametrize("value", [None, [1], "text", 7, True, 1.5, math.nan])
def test_only_objects_and_bytes_can_be_pushed(value):
    with pytest.raises(PayloadError, match="not an object"):
        payloads.encode_object(value)
    assert payloads.encode_object({"a": value})[0] == JSON


def test_what_is_not_json_is_an_error_that_shows_it_shortly():
    with pytest.raises(PayloadError, match="object object at"):
        payloads.encode({"a": object()})
    with pytest.raises(PayloadError) as caught:
        payloads.encode({"a": object(), "pad": "x" * 1000})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("codec", "data"), [(JSON, b"{"), (JSON, b"\xff"), (JSON, b'{"a":1e999}'), (9, b"")]
)
def test_what_cannot_be_decoded_is_an_error(codec, data):
    with pytest.raises(DecodeError):
        payloads.decode(codec, data)


def test_a_payload_that_the_mesh_could_not_carry_is_refused_where_it_is_made():
    with pytest.raises(PayloadError, match="8000000"):
        payloads.encode(b"x" * 8_000_001)
    assert payloads.encode(b"x" * 8_000_000)[0] == BINARY


def test_an_extension_type_is_no_payload():
    data = b"\x81\xa1a\xc7\x01\x05x"
    assert "extension type 5" in payloads.flaw(MSGPACK, data)
    with pytest.raises(DecodeError, match="extension type 5"):
        payloads.decode(MSGPACK, data)


@pytest.mark.parametrize("codec", [JSON, BINARY, MSGPACK])
def test_what_is_larger_than_our_own_payloads_is_no_payload(codec):
    data = {JSON: b'"%s"', BINARY: b"%s", MSGPACK: b"\xc6\x00\x7a\x12\x00%s"}[codec] % bytes(8_000_000)
    assert "at most 8000000" in payloads.flaw(codec, data + b"x")
    assert payloads.flaw(BINARY, bytes(8_000_000)) is None
