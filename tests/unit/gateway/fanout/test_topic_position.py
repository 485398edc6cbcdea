"""gateway/fanout/topic_position.py: what continues a topic's history, what was missed, and what is old."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.fanout.topic_position import Order, TopicPosition
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
