"""mesh/bus/decoding.py: what other nodes send is what it should be, or a WireError."""

import msgspec
import pytest

from mesh.bus import topic_counts, trace_call
from mesh.bus.decoding import decoder
from mesh.errors import WireError

PACK = msgspec.msgpack.encode
DEEP = b"\x91" * 5_000 + b"\xc0"
"""Nested lists."""


def longer(fields):
    """An array of these fields, and of one more that a newer version might have."""
    return bytes([0x91 + len(fields)]) + b"".join(map(PACK, fields)) + DEEP


@pytest.mark.parametrize(
    ("decode", "fields"),
    [
        (decoder(tuple[int, bytes], "a pair"), [1]),
        (trace_call.decode_question, ["t", "room:1", "", 1.0, 9]),
        (trace_call.decode_answer, [2, [], ""]),
        (topic_counts.decode_question, ["room:", False, 9]),
        (topic_counts.decode_answer, [[], 0]),
    ],
)
def test_what_nests_too_deep_is_an_error_of_the_sender(decode, fields):
    with pytest.raises(WireError, match=r"^not a"):
        decode(longer(fields))


def test_the_error_names_what_was_wanted():
    with pytest.raises(WireError, match=r"^not a pair: Expected `int`, got `str`"):
        decoder(tuple[int, bytes], "a pair")(PACK(("x", b"")))
