"""Query strings as Plug decodes them: `a[b]=c` nests a map, `a[]=1` a list.

Source: Plug.Conn.Query. phoenix.js writes nested objects as `a[b]=c`, and arrays as `a[0]=x`, which
arrive as a map with the indices for keys.
"""

from typing import Any
from urllib.parse import unquote_to_bytes

from mesh.errors import RemoteProtocolError

MAX_PARAMS = 1_000
MAX_DEPTH = 32


def decode_query(query: str) -> dict[str, Any]:
    """The parameters of a query string; of doubled names the last one counts.

    Raises:
        RemoteProtocolError: for text that is not UTF-8, and beyond 1,000 parameters or 32 levels.
    """
    pairs = [pair for pair in query.split("&") if pair]
    if len(pairs) > MAX_PARAMS:
        raise RemoteProtocolError(f"{len(pairs)} query parameters; at most {MAX_PARAMS} are read")
    params: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        _assign(params, _keys(_unquote(name)), _unquote(value))
    return {str(key): _lists(value) for key, value in params.items()}


def _unquote(text: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError(f"query parameter {text[:80]!r} is not UTF-8") from None


def _keys(name: str) -> list[str]:
    head, bracket, rest = name.partition("[")
    if not bracket or not head or not rest.endswith("]"):
        return [name]
    keys = [head, *rest[:-1].split("][")]
    if len(keys) > MAX_DEPTH:
        raise RemoteProtocolError(f"query parameter nested {len(keys)} deep; at most {MAX_DEPTH}")
    return keys


def _assign(params: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        inner = params.get(key) if key else None
        if not isinstance(inner, dict):
            inner = params[key or _Next(len(params))] = {}
        params = inner
    last = keys[-1]
    params[last if last or len(keys) == 1 else _Next(len(params))] = value


class _Next(str):
    """The key of an `a[]` element, until all are known and they become a list."""

    __slots__ = ()

    def __new__(cls, index: int) -> "_Next":
        return super().__new__(cls, f"[]{index}")


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(key, _Next) for key in value):
        return [_lists(each) for each in value.values()]
    return {str(key): _lists(each) for key, each in value.items()}
