"""Decodes query strings as Plug does: `a[b]=c` nests a map, `a[]=1` a list.

Source: Plug.Conn.Query. phoenix.js writes nested objects as `a[b]=c`, and arrays as `a[0]=x`, which
arrive as a map keyed by index. Where names conflict (`x=1&x[y]=2`), the last one wins at each level, as in
Plug.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from mesh.errors import RemoteProtocolError

MAX_PARAMS = 1_000
MAX_DEPTH = 32

_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)


class _Level(list[tuple[str | None, Any]]):
    """The entries of one level, in order: (key, text or nested level); the key of `[]` is None."""

    __slots__ = ()


def decode_query(query: str) -> dict[str, Any]:
    """Return the parameters of a query string, given as in the request: one character for each byte.

    Raises:
        RemoteProtocolError: for an incomplete percent escape, for bytes that are not UTF-8, and for more
            than 1,000 parameters or 32 levels. Its message is logged, so it shows no values.
    """
    if not query:
        return {}
    pairs = [pair for pair in query.split("&") if pair]
    if len(pairs) > MAX_PARAMS:
        raise RemoteProtocolError(f"{len(pairs)} query parameters; at most {MAX_PARAMS} are read")
    root = _Level()
    levels: dict[str, _Level] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        _insert(root, levels, _unquote(name, plus=True), _unquote(value, plus=True))
    return _map(root)


def decode_path_params(params: Mapping[str, str]) -> dict[str, str]:
    """Decode the parameters of a path, given as in the request. Raises RemoteProtocolError."""
    return {name: _unquote(value, plus=False) for name, value in params.items()}


def decode_header(value: str) -> str:
    """Decode a header's value, one character for each byte, as UTF-8, else ISO 8859-1 (RFC 9110 §5.5)."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _unquote(text: str, *, plus: bool) -> str:
    if plus:
        text = text.replace("+", " ")
    if "%" not in text and text.isascii():
        return text
    broken = _BROKEN_ESCAPE.search(text)
    if broken is not None:
        raise RemoteProtocolError(
            f"{broken[0]!r} in the request target is not an escape; want % and two hexadecimal digits"
        )
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeError:
        raise RemoteProtocolError("text in the request target is not UTF-8") from None


def _insert(root: _Level, levels: dict[str, _Level], name: str, value: str) -> None:
    """Append a value to its level, and each new level to its parent."""
    keys = _keys(name)
    if keys is None:
        root.append((name, value))
        return
    child: Any = value
    # As in Plug, a level is identified by its text: `x[a][b]` and `x[a][c]` share the level `x[a]`.
    for depth in range(len(keys) - 1, 0, -1):
        text = keys[0] + "".join(f"[{key}]" for key in keys[1:depth])
        existing = levels.get(text)
        level = levels[text] = _Level() if existing is None else existing
        level.append((keys[depth] or None, child))
        if existing is not None:
            return
        child = level
    root.append((keys[0], child))


def _keys(name: str) -> list[str] | None:
    """Split `a[b][]` into a, b and the empty key; None for a name without levels."""
    head, bracket, rest = name.partition("[")
    if not bracket or not head or not rest.endswith("]"):
        return None
    keys = [head, *rest[:-1].split("][")]
    if len(keys) > MAX_DEPTH:
        raise RemoteProtocolError(f"query parameter nested {len(keys)} deep; at most {MAX_DEPTH}")
    return keys


def _map(level: _Level) -> dict[str, Any]:
    return {key: _value(child) for key, child in level if key is not None}


def _value(child: Any) -> Any:
    if not isinstance(child, _Level):
        return child
    if child[-1][0] is None:  # the last one decides whether it is a list
        return [_value(each) for key, each in child if key is None]
    return _map(child)
