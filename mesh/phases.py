"""Tables of phases: which event leads from which phase to which, and what is done then. Pure.

A table is a mapping (phase, event) -> (next phase, actions). Each thing with a life of several phases has
an enum of its phases, one of its events and one table, in a file of its own that alone writes the phase
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
    """A phase that changes by its table alone."""

    __slots__ = ("_table", "phase")

    def __init__(self, table: "Table[PhaseT, EventT, ActionT]", phase: PhaseT) -> None:
        self._table = table
        self.phase = phase

    def handle(self, event: EventT) -> tuple[ActionT, ...]:
        """Go on to the next phase; returns what is to be done. Raises PhaseError for what is not in the table."""
        try:
            self.phase, actions = self._table[self.phase, event]
        except KeyError:
            raise PhaseError(f"{event} in {self.phase}") from None
        return actions
