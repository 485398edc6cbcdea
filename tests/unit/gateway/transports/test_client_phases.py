"""gateway/transports/client_phases.py: every pair of phase and event, and where it leads."""

import itertools

import pytest

from mesh.gateway.transports.client_phases import TABLE, Action, Event, Phase
from tests.support.tables import check_pairs, reachable

PAIRS = list(itertools.product(Phase, Event))
FINAL = Phase.CLOSED
ENDED = (Phase.CLOSING, Phase.CLOSED)
NEVER = {
    *((Phase.OPENING, each) for each in Event if each not in (Event.ADMITTED, Event.END, Event.LOST)),
    *((each, Event.ADMITTED) for each in Phase if each is not Phase.OPENING),
    (Phase.OPEN, Event.RESUME),
    (Phase.PAUSED, Event.PAUSE),
    (Phase.OPEN, Event.FINISHED),
    (Phase.PAUSED, Event.FINISHED),
}


@pytest.mark.causes_phase_errors
def test_every_pair_is_in_the_table_or_an_error():
    check_pairs(TABLE, Phase, Event)


def test_the_table_has_no_other_pairs():
    assert set(TABLE) == set(PAIRS) - NEVER


def test_every_phase_is_reached_and_every_one_can_end():
    assert reachable(TABLE, Phase.OPENING) == set(Phase)
    assert all(FINAL in reachable(TABLE, phase) for phase in Phase)
    assert reachable(TABLE, FINAL) == {FINAL}


def test_lost_ends_every_phase_at_once():
    assert {TABLE[phase, Event.LOST][0] for phase in Phase} == {FINAL}


def test_what_is_opened_is_released_exactly_once():
    for (before, _), (after, actions) in TABLE.items():
        assert (Action.RELEASE in actions) == (before is not FINAL and after is FINAL)


def test_the_hub_is_told_once_and_only_of_an_end_that_is_not_its_own():
    for (before, event), (after, actions) in TABLE.items():
        ends = before in (Phase.OPEN, Phase.PAUSED) and after in ENDED
        assert (Action.TELL_HUB in actions) == (ends and event is not Event.CLOSE)


def test_a_close_is_sent_once_and_never_to_a_client_that_is_gone_or_does_not_read():
    for (before, event), (after, actions) in TABLE.items():
        orderly = before not in ENDED and after in ENDED and event in (Event.CLOSE, Event.END)
        assert (Action.SEND_CLOSE in actions) == orderly


def test_what_waits_is_dropped_only_for_a_client_that_does_not_read():
    for (before, event), (_, actions) in TABLE.items():
        assert (Action.DROP_UNSENT in actions) == (event is Event.OVERFLOW and before is not FINAL)


def test_reading_stops_and_starts_with_the_pause():
    for (before, event), (_, actions) in TABLE.items():
        assert (Action.STOP_READING in actions) == ((before, event) == (Phase.OPEN, Event.PAUSE))
        starts = event is Event.ADMITTED or before is Phase.PAUSED
        assert Action.START_READING not in actions or starts
