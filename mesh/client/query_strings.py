"""Converts a connection's parameters to strings, as phoenix.js writes them into a query string. Pure.

Source: phoenix.js, Ajax.serialize, and how JavaScript writes booleans and numbers. So the server receives
the same from every client and transport: strings in nested dicts. A list becomes a dict keyed by position.
"""

import os
import re
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote
from uuid import UUID

from mesh.errors import SettingsError

_BOOLEANS = {True: "true", False: "false"}
_UNESCAPED = "!*'()"
"""Characters that encodeURIComponent leaves unescaped, besides letters, digits and -_.~"""
MAX_DEPTH = 32
"""The depth to which a gateway reads a query string."""

_SECRETS = re.compile(r"//[^/?#]*@|[?#].*", re.DOTALL)

StringParams = dict[str, Any]
"""Its values are strings, or dicts of the same kind."""


def without_secrets(address: str) -> str:
    """Return an address for log lines and errors: without query, user and password."""
    return _SECRETS.sub(lambda found: "//" if found[0].startswith("//") else "", address)


def to_strings(params: dict[Any, Any]) -> StringParams:
    """Return `params` with all values as strings; None, empty dicts and empty lists are left out.

    Raises:
        SettingsError: for bytes and other values that have no string form, and beyond 32 levels.
    """
    return _convert_values(params, "params", 0)


def query(params: dict[Any, Any]) -> str:
    """Return `params` as a query string: `{"a": {"b": 1}}` becomes `a[b]=1`, with escaped brackets."""
    return "&".join(
        f"{quote(name, safe=_UNESCAPED)}={quote(text, safe=_UNESCAPED)}"
        for name, text in _pairs(to_strings(params), "")
    )


def _pairs(params: StringParams, parent: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in params.items():
        name = f"{parent}[{key}]" if parent else key
        pairs += _pairs(value, name) if isinstance(value, dict) else [(name, value)]
    return pairs


def _convert_values(values: dict[Any, Any], name: str, depth: int) -> StringParams:
    if depth >= MAX_DEPTH:
        raise SettingsError(f"params are nested more than {MAX_DEPTH} levels deep, which gateways reject")
    found: StringParams = {}
    for key, value in values.items():
        text = "null" if key is None else _to_string(key, f"a key of {name}")
        inner = value.value if isinstance(value, Enum) else value
        if isinstance(inner, (list, tuple)):
            inner = dict(enumerate(inner))
        if isinstance(inner, dict):
            inner = _convert_values(inner, f"{name}[{text!r}]", depth + 1)
            if inner:
                found[text] = inner
        elif inner is not None:
            found[text] = _to_string(inner, f"{name}[{text!r}]")
    return found


def _to_string(value: Any, name: str) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return _BOOLEANS[value]
    if isinstance(value, float):
        return _format_number(value)
    if isinstance(value, (int, Decimal, UUID)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return str(value)
    advice = "decode them, or encode them as base64" if isinstance(value, bytes) else "convert it to text"
    raise SettingsError(f"{name} is of type {type(value).__name__}, which has no string form: {advice}")


def _format_number(value: float) -> str:
    """Write a number as JavaScript does. Source: ECMA-262, Number::toString."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)  # it is finite
    if digits == (0,):
        return "0"
    digit_text = "".join(map(str, digits))
    point = len(digit_text) + exponent  # its position, from the left
    if len(digit_text) <= point <= 21:
        text = digit_text + "0" * (point - len(digit_text))
    elif 0 < point <= 21:
        text = f"{digit_text[:point]}.{digit_text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digit_text}"
    else:
        text = digit_text[0] + (f".{digit_text[1:]}" if len(digit_text) > 1 else "") + f"e{point - 1:+d}"
    return f"-{text}" if sign else text
