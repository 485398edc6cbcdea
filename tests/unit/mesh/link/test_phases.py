"""mesh/link/phases.py: every pair of a phase and an event."""

import pytest

from mesh.link.phases import TABLE, Action, Event, Phase
from tests.support.tables import check_pairs, reachable

REPORTS = {Action.REPORT_DOWN, Action.REPORT_INCOMPATIBLE}


@pytest.mark.causes_phase_errors
def test_every_pair_is_in_the_table_or_an_error():
    check_pairs(TABLE, Phase, Event)


def test_every_phase_is_reached():
    assert reachable(TABLE, Phase.RESOLVING) == set(Phase)
    assert reachable(TABLE, Phase.GREETING) == set(Phase) - {Phase.RESOLVING}


@pytest.mark.parametrize("phase", [each for each in Phase if each is not Phase.ENDED])
def test_every_phase_but_the_last_can_end_either_way(phase):
    for event in (Event.FAILED, Event.CLOSE):
        after, actions = TABLE[phase, event]
        assert after is Phase.ENDED
        assert (Action.REPORT_DOWN in actions) == (event is Event.FAILED)


def test_nothing_comes_after_the_end():
    assert not [event for phase, event in TABLE if phase is Phase.ENDED]


def test_a_link_is_released_exactly_when_it_ends_and_reported_at_most_once():
    for after, actions in TABLE.values():
        assert (Action.RELEASE in actions) == (after is Phase.ENDED)
        assert len(REPORTS & set(actions)) <= 1


def test_what_is_queued_is_sent_unless_the_link_failed():
    for (_, event), (after, actions) in TABLE.items():
        if after is Phase.ENDED:
            assert (Action.FLUSH in actions) == (event is not Event.FAILED)
