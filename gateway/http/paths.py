"""Reads paths as Plug does: empty segments are ignored, and escapes are decoded in each segment. Pure.

Source: Plug.Router.Utils, Plug.Static.
"""

import re
from urllib.parse import unquote_to_bytes

MAX_NAME_BYTES = 255
"""The limit of a file's name on all common file systems."""
WELL_KNOWN = ".well-known"
"""The only name with a leading dot that is meant to be served (RFC 8615)."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NOT_ASCII = re.compile(r"[\x80-\xff]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def without_empty_segments(path: str) -> str:
    """Remove empty segments: `//a//b/` becomes `/a/b`."""
    return "/" + "/".join(segment for segment in path.split("/") if segment)


def normalize(path: str) -> str:
    """Remove empty segments and needless escapes: `//a%2Db/%2f/` becomes `/a-b/%2F` (RFC 3986 §6.2.2).

    Args:
        path: the bytes of the path decoded as Latin-1, as Tornado does. The result is ASCII.
    """
    joined = without_empty_segments(path)
    if not joined.isascii():
        joined = _NOT_ASCII.sub(lambda match: f"%{ord(match[0]):02X}", joined)
    return _ESCAPE.sub(_normalize_escape, joined) if "%" in joined else joined


def _normalize_escape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def unescape(text: str) -> bytes:
    """Decode a part of a normal path into bytes."""
    return unquote_to_bytes(text)


def relative_file(path: str, well_known: bool) -> str | None:
    """Return the relative file name for a path below a static prefix, or None if it must not be served.

    Args:
        path: a normal path, with its escapes.
        well_known: whether `.well-known` may come first; no other name may begin with a dot.
    """
    names: list[str] = []
    for segment in path.split("/"):
        if not segment:
            continue
        try:
            name = unescape(segment).decode()
        except UnicodeDecodeError:
            return None
        if name.startswith(".") and (names or not well_known or name != WELL_KNOWN):
            return None
        if len(name.encode()) > MAX_NAME_BYTES or any(each in name for each in "\x00/\\"):
            return None
        names.append(name)
    return "/".join(names)
