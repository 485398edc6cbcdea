"""Bounds and escapes foreign text and values for log lines and errors. Pure.

A client chooses topics, events and parameters, a worker chooses reasons: each may be as long as a message,
and may contain escape sequences that terminals execute.
"""

import re
from typing import Any

MAX_CHARACTERS = 400
"""The limit for one text. Topics may have 4,096 bytes; reasons from peers have no limit of their own."""
MAX_FIELD_CHARACTERS = 4_000
"""The limit for one field with several texts, such as `params`."""
MAX_DEPTH = 20
MAX_BITS = 128
"""The limit for an integer: JSON may contain thousands of digits."""

# C0 and C1 without tab and line feed, line separators, and characters that change the text direction.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the text, or its beginning and its length if it is longer than `limit`."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text)} characters)"


def visible(text: str) -> str:
    """Return the text with control characters escaped, except line feeds and tabs."""
    return text if text.isprintable() else _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def shorten_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a log line's fields with each one bounded; tracebacks are bounded when formatted."""
    return {name: value if name == "exc_info" else _bounded(value) for name, value in fields.items()}


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return visible(shorten(value))
    if isinstance(value, (dict, list, tuple)):
        return _copy(value, [MAX_FIELD_CHARACTERS], MAX_DEPTH)
    if isinstance(value, (bytes, bytearray)):
        return shorten(repr(bytes(value[: MAX_CHARACTERS + 1])))
    if isinstance(value, int):
        bits = value.bit_length()
        return value if bits <= MAX_BITS else f"an integer of {bits} bits"
    if value is None or isinstance(value, float):
        return value
    return visible(shorten(_repr(value)))


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


def _copy(value: Any, budget: list[int], depth: int) -> Any:
    if budget[0] <= 0 or depth < 0:
        return "…"
    if isinstance(value, dict):
        return {
            _text(name, budget): _copy(inner, budget, depth - 1)
            for name, inner in _first(value.items(), budget)
        }
    if isinstance(value, (list, tuple)):
        return [_copy(inner, budget, depth - 1) for inner in _first(value, budget)]
    return _text(value, budget)


def _text(value: Any, budget: list[int]) -> Any:
    value = _bounded(value)
    budget[0] -= len(value) if isinstance(value, str) else 8
    return value


def _first(values: Any, budget: list[int]) -> Any:
    """Return as many values as fit into the budget; the keys of a dict count too."""
    for value in values:
        if budget[0] <= 0:
            return
        budget[0] -= 2
        yield value
