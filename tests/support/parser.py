"""What tests/support/parsers.py says of a parser, and the examples in tests/vectors."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

VECTORS = Path(__file__).parents[1] / "vectors"
SECRET = "a secret of more than twenty bytes"
PACK = msgspec.msgpack.encode
JSON_OF = msgspec.json.encode


@dataclass
class Parser:
    """One of them.

    Attributes:
        name: of the parser.
        call: reads bytes.
        raises: what it may raise for bytes it cannot read.
        seeds: bytes that it can read.
        again: makes bytes of what was read, which must read the same; None where nothing writes it.
    """

    name: str
    call: Callable[[bytes], Any]
    raises: tuple[type[Exception], ...]
    seeds: list[bytes] = field(default_factory=list)
    again: Callable[[Any], bytes] | None = None


def vectors(name: str, **wanted: Any) -> list[dict[str, Any]]:
    """Good examples of tests/vectors."""
    every = json.loads((VECTORS / f"{name}.json").read_text())
    found = [
        each
        for each in every
        if "error" not in each and all(each.get(key) == value for key, value in wanted.items())
    ]
    assert found, (name, wanted)
    return found


def hexes(name: str, **wanted: Any) -> list[bytes]:
    return [bytes.fromhex(each["hex"]) for each in vectors(name, **wanted)]
