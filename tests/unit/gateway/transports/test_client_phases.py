"""gateway/transports/client_phases.py: every pair of phase and event, and where it leads."""

import itertools

import pytest

from mesh.errors import PhaseError
from mesh.gateway.transports.client_phases import TABLE, Action, Event, Phase
from mesh.phases import Phases

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


@pytest.mark.parametrize(("phase", "event"), PAIRS, ids=lambda each: each.value)
def test_a_pair_is_in_the_table_unless_it_is_a_defect(phase, event):
    life = Phases(TABLE, phase)
    if (phase, event) in NEVER:
        with pytest.raises(PhaseError):
            life.handle(event)
        assert life.phase is phase
    else:
        next_phase, actions = TABLE[phase, event]
        assert life.handle(event) == actions
        assert life.phase is next_phase


def test_the_table_has_no_other_pairs():
    assert set(TABLE) == set(PAIRS) - NEVER


def reached(start):
    seen, left = {start}, [start]
    while left:
        phase = left.pop()
        for (before, _), (after, _) in TABLE.items():
            if before is phase and after not in seen:
                seen.add(after)
                left.append(after)
    return seen


def test_every_phase_is_reached_and_every_one_can_end():
    assert reached(Phase.OPENING) == set(Phase)
    assert all(FINAL in reached(phase) for phase in Phase)
    assert reached(FINAL) == {FINAL}


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
