"""Finds the session cookie in Cookie headers.

Several cookies may have its name, set for other paths or domains by other applications on the same host.
User agents send the one with the longest path first (RFC 6265 §5.4); the signature shows which is ours.
"""

import re
from collections.abc import Iterable, Iterator

from mesh.gateway.http.params import decode_header

MAX_CANDIDATES = 16
"""The most cookies of one name that are tried; each costs a signature check."""

_ESCAPE = re.compile(r"\\(?:([0-3][0-7]{2})|(.))")


def candidates(headers: Iterable[str], name: str) -> Iterator[str]:
    """Yield the distinct values of the cookies with this name, in the order in which they were sent.

    Args:
        headers: the values of all Cookie headers of a request.
        name: the cookie's name.
    """
    seen: set[str] = set()
    for header in headers:
        for pair in header.split(";"):
            given, equals, value = pair.partition("=")
            if not equals or given.strip(" \t") != name:
                continue
            value = _unquote(value.strip(" \t"))
            if value in seen:
                continue
            seen.add(value)
            yield decode_header(value)
            if len(seen) == MAX_CANDIDATES:
                return


def _unquote(value: str) -> str:
    """Remove enclosing double quotes, and decode the escapes that Python's http.cookies writes."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)) if match[1] else match[2], value[1:-1])
