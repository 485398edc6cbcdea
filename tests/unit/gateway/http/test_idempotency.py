"""gateway/http/idempotency.py: keys used lately, bounded in time and number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import WireError
from mesh.gateway.http.idempotency import IdempotencyKeys, decode, digest, encode


def test_a_key_is_remembered_for_its_time():
    keys = IdempotencyKeys(600.0, 10)
    keys.remember("a", b"f", 3, now=0.0)
    used = keys.find("a", now=599.9)
    assert used is not None
    assert (used.fingerprint, used.published) == (b"f", 3)
    assert keys.find("a", now=600.0) is None
    assert keys.find("b", now=0.0) is None


def test_what_is_too_old_or_too_much_is_forgotten_the_oldest_first():
    keys = IdempotencyKeys(600.0, 3)

    def remembered(now):
        return [key for key in ("0", "1", "2", "3", "4", "5", "new") if keys.find(key, now)]

    for number in range(5):
        keys.remember(str(number), b"", 1, now=float(number))
    assert remembered(4.0) == ["2", "3", "4"]
    keys.remember("2", b"", 0, now=5.0)
    keys.remember("5", b"", 0, now=5.0)
    assert remembered(5.0) == ["2", "4", "5"], "3 was the oldest"
    keys.remember("new", b"", 1, now=604.5)
    assert remembered(4.0) == ["2", "5", "new"], "4 was too old"


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_different_parts_have_different_digests(one, other):
    assert (digest(*one) == digest(*other)) == (one == other)


def test_what_the_other_gateways_are_told_round_trips():
    assert decode(encode(b"f", 3)) == (b"f", 3)


@given(st.binary(max_size=30))
def test_garbage_is_a_wire_error_and_nothing_else(data):
    try:
        decode(data)
    except WireError:
        pass


def test_the_documented_bytes():
    assert encode(b"\x01" * 16, 2).hex(" ") == "92 c4 10 " + "01 " * 16 + "02"
    with pytest.raises(WireError):
        decode(b"\x92\xc0\x01")
