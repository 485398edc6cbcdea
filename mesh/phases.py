"""Phase tables: which event leads from which phase to which other, and the actions of the transition. Pure.

A table is a mapping (phase, event) → (next phase, actions). Each object whose life has several phases has
an enum of phases, an enum of events and a table, in a file of its own, and only that file changes the phase
(in the manner of h11's EVENT_TRIGGERED_TRANSITIONS).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from mesh.errors import PhaseError

PhaseT = TypeVar("PhaseT", bound=Enum)
EventT = TypeVar("EventT", bound=Enum)
ActionT = TypeVar("ActionT")

Table = Mapping[tuple[PhaseT, EventT], tuple[PhaseT, tuple[ActionT, ...]]]


class Phases(Generic[PhaseT, EventT, ActionT]):
    """A phase that only changes according to its table."""

    __slots__ = ("_table", "phase")

    def __init__(self, table: "Table[PhaseT, EventT, ActionT]", phase: PhaseT) -> None:
        self._table = table
        self.phase = phase

    def handle(self, event: EventT) -> tuple[ActionT, ...]:
        """Enter the next phase and return the actions. Raises PhaseError for an unknown transition."""
        try:
            self.phase, actions = self._table[self.phase, event]
        except KeyError:
            raise PhaseError(f"{event} in {self.phase}") from None
        return actions
