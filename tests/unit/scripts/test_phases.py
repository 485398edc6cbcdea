"""scripts/phases.py: tables as diagrams, and that documents show the tables as they are."""

import sys
from enum import Enum, auto

import pytest

from tests.support.processes import ROOT

sys.path.append(str(ROOT / "scripts"))

import phases


class Phase(Enum):
    NEW = auto()
    OPEN = auto()
    HALF_OPEN = auto()
    OVER = auto()


class Event(Enum):
    OPENED = auto()
    CLOSED = auto()
    BROKEN = auto()
    TICK = auto()


class Step(Enum):
    SAY_HELLO = auto()
    SAY_BYE = auto()


TABLE = {
    (Phase.NEW, Event.OPENED): (Phase.OPEN, (Step.SAY_HELLO,)),
    (Phase.NEW, Event.BROKEN): (Phase.OVER, ()),
    (Phase.OPEN, Event.TICK): (Phase.OPEN, ()),
    (Phase.OPEN, Event.CLOSED): (Phase.HALF_OPEN, (Step.SAY_BYE,)),
    (Phase.OPEN, Event.BROKEN): (Phase.OVER, ()),
    (Phase.HALF_OPEN, Event.CLOSED): (Phase.OVER, (Step.SAY_BYE, Step.SAY_HELLO)),
    (Phase.HALF_OPEN, Event.OPENED): (Phase.OVER, (Step.SAY_BYE, Step.SAY_HELLO)),
    (Phase.HALF_OPEN, Event.TICK): (Phase.HALF_OPEN, (Step.SAY_HELLO,)),
}


def test_a_table_is_drawn_with_one_arrow_for_all_that_does_the_same_and_a_note_for_what_most_phases_share():
    assert phases.diagram(TABLE, [Phase.NEW]).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> NEW",
        "    NEW --> OPEN: opened / say hello",
        "    OPEN --> HALF_OPEN: closed / say bye",
        "    HALF_OPEN --> OVER: opened or closed / say bye, say hello",
        "    HALF_OPEN --> HALF_OPEN: tick / say hello",
        "    note right of OVER: from most phases by broken",
        "    OVER --> [*]",
    ]


def test_the_order_in_which_a_table_lists_its_entries_makes_no_difference():
    turned = dict(reversed(TABLE.items()))
    assert phases.diagram(turned, [Phase.NEW]) == phases.diagram(TABLE, [Phase.NEW])


def test_what_stands_around_a_diagram_stays():
    page = "before\n<!-- phases mesh.gateway.channels.phases -->\nold\n<!-- end of phases -->\nbehind\n"
    drawn = phases.rendered(page)
    assert drawn.startswith(
        "before\n<!-- phases mesh.gateway.channels.phases -->\n```mermaid\nstateDiagram-v2\n"
    )
    assert drawn.endswith("\n```\n<!-- end of phases -->\nbehind\n")
    assert phases.rendered(drawn) == drawn


@pytest.mark.parametrize("document", phases.DOCUMENTS, ids=lambda path: path.name)
def test_documents_show_the_tables_as_they_are(document):
    text = document.read_text()
    assert "stateDiagram-v2" in text
    assert phases.rendered(text) == text, "run scripts/phases.py"
