"""mesh/phases.py: a phase changes as its table says."""

from enum import Enum

import pytest

from mesh.errors import PhaseError
from mesh.phases import Phases


class Door(Enum):
    OPEN = "open"
    SHUT = "shut"


class Push(Enum):
    HARD = "hard"
    SOFT = "soft"


TABLE = {(Door.OPEN, Push.HARD): (Door.SHUT, ("bang",))}


def test_an_event_leads_to_the_next_phase_and_says_what_to_do():
    door = Phases(TABLE, Door.OPEN)
    assert door.handle(Push.HARD) == ("bang",)
    assert door.phase is Door.SHUT


@pytest.mark.parametrize(("phase", "event"), [(Door.OPEN, Push.SOFT), (Door.SHUT, Push.HARD)])
@pytest.mark.causes_phase_errors
def test_what_is_not_in_the_table_is_an_error_and_changes_nothing(phase, event):
    door = Phases(TABLE, phase)
    with pytest.raises(PhaseError, match=f"{event} in {phase}"):
        door.handle(event)
    assert door.phase is phase
