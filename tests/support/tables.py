"""What is true of every table of phases (mesh/phases.py)."""

import itertools
import re

import pytest

from mesh.errors import PhaseError
from mesh.phases import Phases


def check_pairs(table, phases, events):
    """Each pair of the table leads where it says; each other one is an error and leads nowhere."""
    for phase, event in itertools.product(phases, events):
        machine = Phases(table, phase)
        if (phase, event) in table:
            after, actions = table[phase, event]
            assert machine.handle(event) == actions
            assert machine.phase is after
        else:
            with pytest.raises(PhaseError, match=re.escape(str(event))):
                machine.handle(event)
            assert machine.phase is phase


def reachable(table, *starts):
    """The phases to which events lead from these, themselves included."""
    found, todo = set(starts), list(starts)
    while todo:
        before = todo.pop()
        for (phase, _), (after, _) in table.items():
            if phase is before and after not in found:
                found.add(after)
                todo.append(after)
    return found
