"""Draws the tables of phases as Mermaid state diagrams, into the documents that show them.

    python scripts/phases.py

In each document, the text between `<!-- phases MODULE -->` and `<!-- end of phases -->` is replaced by the
diagram of that module's TABLE, with `[*]` before the phases in its FIRST, or before those that no event
leads to. A test compares the documents with the tables, so run this after each change of a table.

An arrow is labelled with its events and the steps that they cause. Events that change nothing are omitted.
An event that leads from most phases to the same one, with the same steps, is a note instead of many arrows.
"""

import importlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "docs" / "architecture.md"]
BLOCK = re.compile(r"(<!-- phases ([\w.]+) -->\n).*?(<!-- end of phases -->)", re.DOTALL)

Table = Mapping[tuple[Enum, Enum], tuple[Enum, tuple[Enum, ...]]]


def diagram(table: Table, first: Iterable[Enum]) -> str:
    """Return a table as the text of a `stateDiagram-v2`."""
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in _lines(table, first))])


def rendered(document: str) -> str:
    """Return a document with its diagrams made from the current tables."""
    return BLOCK.sub(
        lambda block: f"{block[1]}```mermaid\n{_diagram_of(block[2])}\n```\n{block[3]}", document
    )


def _diagram_of(module: str) -> str:
    found = importlib.import_module(module)
    reached = {to for (phase, _), (to, _) in found.TABLE.items() if to is not phase}
    beginnings = dict.fromkeys(phase for phase, _ in found.TABLE if phase not in reached)
    return diagram(found.TABLE, getattr(found, "FIRST", beginnings))


def _lines(table: Table, first: Iterable[Enum]) -> Iterator[str]:
    phases = {phase for phase, _ in table} | {to for to, _ in table.values()}
    final = phases - {phase for (phase, _), (to, _) in table.items() if to is not phase}
    arrows: dict[tuple[Enum, Enum, tuple[Enum, ...]], list[Enum]] = defaultdict(list)
    sources: dict[tuple[Enum, Enum, tuple[Enum, ...]], list[Enum]] = defaultdict(list)
    for (phase, event), (to, steps) in sorted(table.items(), key=_definition_order):
        if to is not phase or steps:
            arrows[phase, to, steps].append(event)
            sources[event, to, steps].append(phase)
    notes = [each for each, phases_from in sources.items() if len(phases_from) > len(phases - final) / 2]
    noted = {(phase, to, steps, event) for event, to, steps in notes for phase in sources[event, to, steps]}
    for phase in first:
        yield f"[*] --> {phase.name}"
    for (phase, to, steps), events in arrows.items():
        shown = [event for event in events if (phase, to, steps, event) not in noted]
        if shown:
            yield f"{phase.name} --> {to.name}: {_label(shown, steps)}"
    for event, to, steps in notes:
        yield f"note right of {to.name}: from most phases by {_label([event], steps)}"
    for phase in sorted(final, key=_position):
        yield f"{phase.name} --> [*]"


def _definition_order(entry: tuple[tuple[Enum, Enum], object]) -> tuple[int, int]:
    """Sort a table by the definition of its phases and events, because it may be made from sets."""
    (phase, event), _ = entry
    return _position(phase), _position(event)


def _position(member: Enum) -> int:
    return list(type(member)).index(member)


def _label(events: Iterable[Enum], steps: Iterable[Enum]) -> str:
    done = ", ".join(map(_words, steps))
    return " or ".join(map(_words, events)) + (f" / {done}" if done else "")


def _words(member: Enum) -> str:
    return member.name.lower().replace("_", " ")


def main() -> None:
    """Write every document that has changed."""
    for path in DOCUMENTS:
        before = path.read_text()
        after = rendered(before)
        if after != before:
            path.write_text(after)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
