"""Text and values of strangers, made into what a log line or an error may hold. Pure.

A client names topics, events and parameters, a worker gives reasons: each may be as long as a message, and
may hold escape sequences that a terminal obeys.
"""

import re
from typing import Any

MAX_CHARACTERS = 400
"""Of one text. Topics may have 4,096 bytes, reasons that a stranger gives have no bound of their own."""
MAX_FIELD_CHARACTERS = 4_000
"""Of one field that holds several texts, as `params` does."""
MAX_DEPTH = 20
MAX_BITS = 128
"""Of an integer: JSON may bring thousands of digits."""

# C0 and C1 without tab and line feed, separators of lines, and marks that turn the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """The beginning of a text that is longer than `limit`, and how long it is."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text)} characters)"


def visible(text: str) -> str:
    """A text with control characters escaped, which a terminal would obey; line ends and tabs stay."""
    return text if text.isprintable() else _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def shorten_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """A copy of a log line's fields, each bounded; an exception's traceback is cut when it is formatted."""
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
    """As many as there is still room for; the names of a dict's values cost room too."""
    for value in values:
        if budget[0] <= 0:
            return
        budget[0] -= 2
        yield value
