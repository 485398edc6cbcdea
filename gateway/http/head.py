"""Checks the head of an HTTP request, and puts its target into origin form. Pure.

This happens before Tornado parses the head, so that each refusal has its own status and reason, and every
form of request target is accepted. Source: RFC 9112 §3.2, RFC 9110 §9.1 and §15.5.
"""

import re
from collections.abc import Mapping

from mesh.errors import RemoteProtocolError
from mesh.gateway.http import host

MAX_HEADERS = 200
"""The most header lines of one request; browsers send about 20, proxies add a few."""

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])\r?")
_ABSOLUTE = re.compile(rb"(?:https?|wss?)://([^/?#@]+)([/?][^#]*)?", re.IGNORECASE)
_METHOD_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HOST_LINE = re.compile(rb"^host[ \t]*:([^\n]*)\n", re.IGNORECASE | re.MULTILINE)
_EXPECT_LINE = re.compile(rb"^expect:[ \t]*100-continue[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)
_HEAD_END = re.compile(rb"\n\r?\n")


class HeadError(RemoteProtocolError):
    """The request is answered with `status`, a sentence and `headers`, and its connection is closed."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})


class HeadReader:
    """Finds the end of a head in incoming bytes, and examines each byte once.

    Args:
        max_bytes: the limit of the head.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._line_checked = False

    @property
    def asks_for_head(self) -> bool:
        """Whether the method is HEAD, so that the answer must have no content."""
        return self._buffer.startswith(b"HEAD ")

    @property
    def started(self) -> bool:
        """Whether any part of a request has arrived."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return (the head for Tornado, the bytes after it), or None while the head is incomplete.

        Raises:
            HeadError: as soon as it is clear that the head is refused.
        """
        buffer = self._buffer
        buffer += data if buffer else data.lstrip(b"\r\n")  # RFC 9112 §2.2: empty lines before a request
        if not buffer:
            return None
        if not self._line_checked:
            self._check_line()
        found = _HEAD_END.search(buffer, self._searched)
        end = found.end() if found is not None else len(buffer)
        if end > self._max_bytes:
            raise self._too_long()
        if found is None:
            self._searched = max(0, len(buffer) - 2)
            return None
        return check(bytes(buffer[:end])), bytes(buffer[end:])

    def _check_line(self) -> None:
        """Refuse bytes that cannot become an HTTP/1 request, without waiting for more."""
        if not _METHOD_START.match(self._buffer):
            raise HeadError(400, "this is not an HTTP/1.1 request")
        line, newline, _ = self._buffer.partition(b"\n")
        if newline:
            _parse_line(bytes(line))
            self._line_checked = True

    def _too_long(self) -> HeadError:
        limit = f"at most {self._max_bytes} bytes are read (gateway.max_head_bytes)"
        if self._buffer.find(b"\n", 0, self._max_bytes) < 0:
            return HeadError(414, f"the request line is too long; {limit}")
        return HeadError(431, f"the request's headers are too long; {limit}")


def check(head: bytes) -> bytes:
    """Return a complete head with its target in origin form.

    Raises:
        HeadError: if the head is refused, and for `OPTIONS *`, with its answer.
    """
    line, _, rest = head.partition(b"\n")
    method, target, minor = _parse_line(line)
    lines = rest.count(b"\n") - 1
    if lines > MAX_HEADERS:
        raise HeadError(431, f"{lines} header lines; at most {MAX_HEADERS} are read")
    hosts = _HOST_LINE.findall(rest)
    if len(hosts) > 1 or (not hosts and minor):
        raise HeadError(400, f"{len(hosts) or 'no'} Host headers; want exactly one (RFC 9112 §3.2)")
    if hosts:
        _check_host(hosts[0].strip(b" \t\r"))
    if _EXPECT_LINE.search(rest):  # Tornado compares case, and would answer HTTP/1.0 too
        rest = _EXPECT_LINE.sub(b"Expect: 100-continue\r\n" if minor else b"", rest)
        head = line + b"\n" + rest
    if target.startswith(b"/"):
        _check_path(target)
        return head
    if target == b"*" and method == b"OPTIONS":
        raise HeadError(204, "", {"Allow": "GET, HEAD, POST, OPTIONS"})
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise HeadError(400, "the request target is neither a path nor a URL (RFC 9112 §3.2)")
    # RFC 9112 §3.2.2: the host in the URL takes precedence over the Host header.
    path = match[2] or b"/"
    target = path if path.startswith(b"/") else b"/" + path
    _check_path(target)
    _check_host(match[1])
    rest = b"Host: " + match[1] + b"\r\n" + _HOST_LINE.sub(b"", rest)
    return method + b" " + target + b" HTTP/1.%d\r\n" % minor + rest


def _parse_line(line: bytes) -> tuple[bytes, bytes, int]:
    """Return (method, target, minor version)."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise HeadError(400, "malformed request line; want 'METHOD target HTTP/1.1' (RFC 9112 §3)")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise HeadError(505, "this server supports HTTP/1.0 and HTTP/1.1 only")
    if method == b"CONNECT":
        raise HeadError(501, "this server is not a proxy and does not implement CONNECT")
    return method, target, int(minor)


def _check_host(text: bytes) -> None:
    if host.parse(text.decode("latin-1")) is None:
        raise HeadError(400, "the host is neither a name nor an address (RFC 9110 §7.2)")


def _check_path(target: bytes) -> None:
    if b"%" in target and _BAD_ESCAPE.search(target.partition(b"?")[0]):
        raise HeadError(
            400, "a % in the request target does not begin an escape such as %20 (RFC 3986 §2.1)"
        )
