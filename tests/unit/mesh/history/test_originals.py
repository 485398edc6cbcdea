"""The kept broadcasts that no worker has recorded yet are bounded, and each is recorded or dropped once."""

import pytest

from mesh.history import originals
from mesh.history.originals import Original, Originals
from mesh.protocol.messages import JSON


def made(sequence, at=0.0, data=b"{}"):
    return Original("e", JSON, data, "n", sequence, None, at)


def filled(*sequences, **more):
    some = Originals()
    for sequence in sequences:
        some.add("room:1", made(sequence, **more))
    return some


def test_a_topics_broadcasts_are_taken_in_order_of_arrival():
    some = filled(2, 1)
    some.add("room:2", made(3))
    assert sorted(some) == ["room:1", "room:2"]
    assert [each.sequence for each in some.take("room:1")] == [2, 1]
    assert (some.take("room:1"), len(some)) == ([], 1)


def test_a_broadcast_that_comes_twice_is_kept_once_and_forgotten_when_it_was_recorded():
    some = filled(1)
    assert some.add("room:1", made(1)) == 0
    some.remove("room:1", "n", 1)
    some.remove("room:1", "n", 1)
    assert (len(some), list(some)) == (0, [])


@pytest.mark.parametrize(("limit", "value"), [("MAX_ORIGINALS", 3), ("MAX_BYTES", 27)])
def test_the_oldest_is_dropped_beyond_a_number_or_a_size(monkeypatch, limit, value):
    monkeypatch.setattr(originals, limit, value)
    some = filled(1, 2, 3)
    assert some.add("room:2", made(4)) == 1
    assert [each.sequence for each in some.take("room:1")] == [2, 3]


def test_what_nobody_records_expires():
    some = filled(1, at=1.0)
    some.add("room:1", made(2, at=2.0))
    some.add("room:2", made(3, at=3.0))
    assert some.waits_since("room:1") == 1.0
    assert some.expire(before=3.0) == 2
    assert (some.waits_since("room:1"), list(some)) == (None, ["room:2"])
