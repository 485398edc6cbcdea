"""A parser of the chunked transfer coding: bytes in, content out. Pure.

Extensions and trailer fields are read and ignored, as RFC 9112 §7.1 requires; Tornado refuses both.
"""

import re

from mesh.errors import RemoteProtocolError

MAX_LINE_BYTES = 4_096
"""The limit of the line with a chunk's size and extensions."""
MAX_TRAILER_BYTES = 8_192

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_TRAILERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*\r\n")


class ChunkedBody:
    """The parser of one body."""

    def __init__(self) -> None:
        self._buffered = b""
        self._chunk_left: int | None = None  # bytes left of the current chunk, including its CRLF
        self._last_seen = False

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return (content, the bytes after the body, or None while the body is incomplete).

        Raises:
            RemoteProtocolError: if the body is malformed; nothing more may be fed.
        """
        data = self._buffered + data
        content: list[bytes] = []
        at = 0
        while not self._last_seen:
            if self._chunk_left is None:
                end = self._begin_chunk(data, at)
                if end is None:
                    break
                at = end
            else:
                end = self._read_chunk(data, at, content)
                if end == at:
                    break
                at = end
        self._buffered = data[at:]
        return b"".join(content), self._after_trailers() if self._last_seen else None

    def _begin_chunk(self, data: bytes, at: int) -> int | None:
        match = _SIZE.match(data, at)
        if match is None:
            if data.find(b"\n", at) >= 0 or len(data) - at > MAX_LINE_BYTES:
                raise RemoteProtocolError(
                    "a chunk without a size, or with an extension that is too long (RFC 9112 §7.1)"
                )
            return None
        if match.end() - at > MAX_LINE_BYTES:
            raise RemoteProtocolError("a chunk with an extension that is too long (RFC 9112 §7.1.1)")
        size = int(match[1], 16)
        self._last_seen = size == 0
        self._chunk_left = size + 2
        return match.end()

    def _read_chunk(self, data: bytes, at: int, content: list[bytes]) -> int:
        left = self._chunk_left
        assert left is not None
        if left > 2:
            piece = data[at : at + left - 2]
            content.append(piece)
            self._chunk_left = left - len(piece)
            return at + len(piece)
        if len(data) - at < 2:
            return at
        if data[at : at + 2] != b"\r\n":
            raise RemoteProtocolError("a chunk that is longer than its size (RFC 9112 §7.1)")
        self._chunk_left = None
        return at + 2

    def _after_trailers(self) -> bytes | None:
        rest = self._buffered
        match = _TRAILERS.match(rest)
        if match is not None and match.end() <= MAX_TRAILER_BYTES:
            return rest[match.end() :]
        if match is not None or len(rest) > MAX_TRAILER_BYTES or b"\r\n\r\n" in rest or rest[:1] == b"\n":
            raise RemoteProtocolError("malformed trailer fields, or too many (RFC 9112 §7.1.2)")
        return None
