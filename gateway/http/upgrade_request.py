"""Parses the head of a WebSocket upgrade request in the form that clients normally send. Pure.

Irregular requests are left to Tornado, which also answers their errors. So a single parser decides about
unusual requests, and all others are read at a fraction of the cost (docs/performance.md).
"""

import re
from collections.abc import Iterator

from mesh.gateway.http import host as hosts
from mesh.gateway.http.connection_options import asks_to_close

# RFC 9110 §5.1 and §5.5: a token, a colon, visible characters, blanks and obs-text. No line folding.
_HEAD = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
_NOT_FOR_AN_UPGRADE = ("content-length", "transfer-encoding", "expect")


class Headers:
    """Request headers by lower-case name, with the few Tornado methods that a handshake needs."""

    __slots__ = ("_lists",)

    def __init__(self, lines: str) -> None:
        self._lists: dict[str, list[str]] = {}
        for line in lines.split("\r\n"):
            name, _, value = line.partition(":")
            self._lists.setdefault(name.lower(), []).append(value.strip(" \t"))

    def __contains__(self, name: str) -> bool:
        return name in self._lists

    def __getitem__(self, name: str) -> str:
        return ",".join(self._lists[name])

    def get(self, name: str) -> str | None:
        """Return the value, or None; the values of a repeated header are joined by commas."""
        values = self._lists.get(name)
        return None if values is None else ",".join(values)

    def get_list(self, name: str) -> list[str]:
        """Return all values of a header."""
        return self._lists.get(name, [])

    def get_all(self) -> Iterator[tuple[str, str]]:
        """Return (name, value) of each line."""
        return ((name, value) for name, values in self._lists.items() for value in values)


class UpgradeRequest:
    """A regular GET request, with the attributes of Tornado's HTTPServerRequest that a handshake uses.

    Attributes:
        uri: path and query, as in the request line.
        host: the Host header.
    """

    __slots__ = ("headers", "host", "path", "query", "uri")

    protocol = "http"

    def __init__(self, uri: str, headers: Headers) -> None:
        self.uri = uri
        self.path, _, self.query = uri.partition("?")
        self.headers = headers
        self.host = headers["host"]

    def full_url(self) -> str:
        """Return the request's URL."""
        return f"{self.protocol}://{self.host}{self.uri}"


def parse(head: bytes) -> UpgradeRequest | None:
    """Parse bytes that are exactly one complete, regular request; None for anything else."""
    match = _HEAD.fullmatch(head)
    if match is None or b"%" in match[1].partition(b"?")[0]:
        return None
    headers = Headers(match[2][:-2].decode("latin-1"))
    given = headers.get_list("host")
    host = hosts.parse(given[0]) if len(given) == 1 else None
    if host is None or not host.regular or host.port == "":
        return None
    if any(name in headers for name in _NOT_FOR_AN_UPGRADE) or asks_to_close(headers):
        return None
    return UpgradeRequest(match[1].decode("ascii"), headers)
