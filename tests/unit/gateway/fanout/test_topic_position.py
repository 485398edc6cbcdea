"""gateway/fanout/topic_position.py: what continues a topic's history, what was missed, and what is old."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.fanout.topic_position import GIVE_WAY_SECONDS, Order, TopicPosition
from tests.support.recorded import header

NEXT, MISSED, DOUBLE, STALE = Order.NEXT, Order.MISSED, Order.DOUBLE, Order.STALE


def claim(offset, **position):
    return header(offset, "", **position)


def orders(*headers):
    position = TopicPosition()
    return [position.order(each, each.recorded) for each in headers]


def test_the_first_broadcast_is_taken_whatever_its_offset():
    assert orders(header(41), header(42)) == [NEXT, NEXT]


@pytest.mark.parametrize(
    ("then", "order"),
    [
        (header(5), DOUBLE),
        (header(4), DOUBLE),
        (header(6), NEXT),
        (header(7), MISSED),
        (claim(5), NEXT),
        (claim(6), MISSED),
        (claim(4), DOUBLE),
        (header(6, term=2), NEXT),
        (header(7, term=2), MISSED),
        (header(5, term=2), MISSED),
        (claim(5, term=2), NEXT),
        (claim(6, term=2), MISSED),
        (claim(4, term=2), MISSED),
        (header(6, term=0), STALE),
        (header(6, term=1, recorder="a"), STALE),
        (header(6, term=1, recorder="z"), NEXT),
        (header(1, epoch="new"), NEXT),
        (header(2, epoch="new"), MISSED),
        (claim(0, epoch="new"), NEXT),
        (claim(9, epoch="new", term=2), MISSED),
        (header(1, epoch="new", term=0), STALE),
    ],
)
def test_what_follows_offset_5_of_term_1_of_worker_w(then, order):
    assert orders(header(5), then) == [NEXT, order]


def test_a_stale_recorder_changes_nothing():
    assert orders(header(5, term=2), header(6), claim(9), header(6, term=2)) == [NEXT, STALE, STALE, NEXT]


def test_a_newer_recorder_that_gives_offsets_again_goes_on_from_there():
    again = [header(4, term=2, recorder="x"), header(5, term=2, recorder="x")]
    assert orders(header(5), *again, header(6)) == [NEXT, MISSED, NEXT, STALE]


@given(st.lists(st.integers(1, 40), unique=True).map(sorted))
def test_every_gap_of_one_recorder_is_noticed_once(offsets):
    seen = orders(*(header(offset) for offset in offsets))
    gaps = sum(later > earlier + 1 for earlier, later in pairwise(offsets))
    assert (seen.count(MISSED), seen.count(NEXT)) == (gaps, len(offsets) - gaps)


def test_a_node_that_has_not_announced_itself_replaces_no_recorder():
    position = TopicPosition()
    real, false = header(5), header(2**53, term=2**53, recorder="nobody", epoch="x" * 12)
    assert position.order(false, false.recorded, False) is NEXT  # nothing else is known
    assert position.order(real, real.recorded, True) is MISSED
    assert position.order(false, false.recorded, False) is STALE
    assert not position.gives_way(False, 0.0)
    assert not position.gives_way(False, 1_000.0)
    assert position.order(header(6), header(6).recorded, True) is NEXT


def test_a_recorder_counts_again_if_the_one_that_replaced_it_is_not_heard_any_more():
    position = TopicPosition()
    real, false = header(5), header(2**53, term=2**53)
    assert position.order(real, real.recorded, True) is NEXT
    assert position.order(false, false.recorded, True) is MISSED
    for seconds in (0.0, 5.0, GIVE_WAY_SECONDS - 0.1):
        assert position.order(real, real.recorded, True) is STALE
        assert not position.gives_way(True, seconds)
    assert position.order(false, false.recorded, True) is DOUBLE
    assert position.gives_way(True, GIVE_WAY_SECONDS)
    assert position.order(header(6), header(6).recorded, True) is MISSED


def test_a_recorder_that_is_replaced_and_continues_counts_no_more_while_the_other_one_is_heard():
    position = TopicPosition()
    for offset in range(1, 40):
        new, old = header(offset, term=2), header(offset)
        assert position.order(new, new.recorded, True) is NEXT
        assert position.order(old, old.recorded, True) is STALE
        assert not position.gives_way(True, float(offset))
