"""Finds the variables of paths in text: for `/:token/websocket`, `abc` in `GET /abc/websocket`. Pure."""

import re
from collections.abc import Callable

_VALUE = r"[^/?#\s\"<>]+"


def pattern(path: str, hides: Callable[[str], bool]) -> re.Pattern[str] | None:
    """Return a pattern that matches a path in text, in every spelling that a request may use.

    Its groups are what must be shown; between them are the values to hide.

    Args:
        path: as it is declared, e.g. `/tenants/:token/socket/websocket`.
        hides: whether a variable of this name must be hidden.
    """
    parts, hidden = ["("], False
    for segment in filter(None, path.split("/")):
        parts.append("/+")
        if not segment.startswith(":"):
            parts += map(_spellings, segment)
        elif hides(segment[1:]):
            parts.append(f"){_VALUE}(")
            hidden = True
        else:
            parts.append(_VALUE)
    return re.compile("".join(parts) + r")(?![\w.-])") if hidden else None


def _spellings(character: str) -> str:
    """Return a pattern of a character or its percent escape."""
    digits = f"{ord(character):02x}"
    return f"(?:{re.escape(character)}|%(?:{digits}|{digits.upper()}))"
