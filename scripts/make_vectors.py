"""Writes tests/vectors/*.json from what this code sends. Run it after an intended change of a wire format.

    python scripts/make_vectors.py

The tests compare the code with these files, and so can implementations in other languages. Review the diff
before you commit it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from mesh.bus.discovery import placement
from vectors.bus import bus
from vectors.client import client
from vectors.link import link
from vectors.values import Vector

DIRECTORY = Path(__file__).parents[1] / "tests" / "vectors"


def placements() -> Iterator[Vector]:
    """Return the worker that each topic is placed on, among several workers."""
    workers = [f"worker-{number:016x}" for number in (1, 2, 3, 0xFFFF)]
    for key in ("room:1", "room:2", "room:lobby", "räume:1", "", "x" * 300):
        for among in (workers[:1], workers[:2], workers):
            yield {
                "id": f"{key[:20]} among {len(among)}",
                "key": key,
                "workers": among,
                "chosen": placement.choose(key, among),
            }


def main() -> None:
    """Write every file."""
    for name, make in (("client", client), ("bus", bus), ("link", link), ("placement", placements)):
        vectors = list(make())
        text = ",\n".join(json.dumps(each, ensure_ascii=False) for each in vectors)
        (DIRECTORY / f"{name}.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
