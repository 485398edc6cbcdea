"""Parses a client's WebSocket frames, and builds the server's. Source: RFC 6455 §5.

Tornado's reader is not used, because it awaits several futures per frame and aborts where Phoenix answers
1002 or 1007 (docs/performance.md has the figures). Unmasking uses Tornado's C function.
"""

from typing import NamedTuple

from tornado.util import _websocket_mask as unmask

from mesh.errors import CloseCode, WebSocketError
from mesh.protocol.serializers.base import Frame

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_RESERVED_CODES = frozenset((1004, 1005, 1006, 1015))

MAX_FRAGMENTS = 65_536
"""The most frames of one message; RFC 6455 has no limit. Test suites send 4 MB in frames of 64 bytes."""


class Received(NamedTuple):
    """A complete message or a control frame, unmasked."""

    opcode: int
    payload: bytes


class FrameReader:
    """Parses a client's bytes incrementally, in bounded memory.

    Args:
        max_bytes: the limit of a frame, and of a message made of several.
        max_fragments: the most frames of one message, which may be empty.
    """

    __slots__ = (
        "_buffer", "_fragment_count", "_fragments", "_max_bytes", "_max_fragments", "_needed",
        "_opcode", "_size",
    )  # fmt: skip

    def __init__(self, max_bytes: int, max_fragments: int = MAX_FRAGMENTS) -> None:
        self._max_bytes = max_bytes
        self._max_fragments = max_fragments
        self._buffer: bytearray | None = None
        self._needed = 0
        self._fragments: bytearray | None = None
        self._fragment_count = 0
        self._opcode = 0
        self._size = 0

    def feed(self, data: bytes) -> tuple[list[Received], WebSocketError | None]:
        """Return what is complete now, and the error, after which nothing more may be fed."""
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:  # the frame cannot be complete yet
                return [], None
            data = bytes(self._buffer)
            self._buffer = None
        received: list[Received] = []
        position = 0
        try:
            while position < len(data):
                frame = self._frame(data, position)
                if frame is None:
                    break
                position, first, payload = frame
                message = self._assemble(first, payload)
                if message is not None:
                    received.append(message)
                    if message.opcode == CLOSE:
                        break
        except WebSocketError as error:
            return received, error
        if position < len(data):
            self._needed -= position
            self._buffer = bytearray(memoryview(data)[position:])
        return received, None

    def _frame(self, buffer: bytes, position: int) -> tuple[int, int, bytes] | None:
        """Return (end position, first byte, payload) of the frame at `position`; None if incomplete."""
        available = len(buffer) - position
        if available < 2:
            self._needed = position + 2
            return None
        first, second = buffer[position], buffer[position + 1]
        self._check_head(first, second)
        length = second & 0x7F
        head = 6
        if length >= 126:
            head = 8 if length == 126 else 14
            if available < head - 4:
                self._needed = position + head - 4
                return None
            length = _extended_length(buffer[position + 2 : position + head - 4])
        if first & 0x0F < CLOSE and length + self._size > self._max_bytes:
            raise WebSocketError(
                CloseCode.TOO_BIG, f"message over {self._max_bytes} bytes (gateway.max_frame_bytes)"
            )
        end = position + head + length
        if len(buffer) < end:
            self._needed = end
            return None
        start = position + head
        return end, first, unmask(buffer[start - 4 : start], buffer[start:end])

    def _check_head(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise _protocol_error("a reserved bit is set, but no extension was negotiated (RFC 6455 §5.2)")
        if opcode not in _KNOWN:
            raise _protocol_error(f"a frame with the reserved opcode {opcode:#x} (RFC 6455 §5.2)")
        if not second & 0x80:
            raise _protocol_error("an unmasked frame; a client must mask every frame (RFC 6455 §5.1)")
        if opcode >= CLOSE:
            if not first & 0x80 or second & 0x7F > 125:
                raise _protocol_error("a control frame is fragmented or over 125 bytes (RFC 6455 §5.5)")
        elif (opcode == CONTINUATION) != (self._fragments is not None):
            raise _protocol_error(
                "a continuation frame without a message to continue (RFC 6455 §5.4)"
                if opcode == CONTINUATION
                else "a new message before the fragmented one is complete (RFC 6455 §5.4)"
            )

    def _assemble(self, first: int, payload: bytes) -> Received | None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return Received(opcode, payload)
        if first & 0x80 and self._fragments is None:
            return _message(opcode, payload)
        if self._fragments is None:
            self._fragments, self._opcode = bytearray(), opcode
        self._fragment_count += 1
        if self._fragment_count > self._max_fragments:
            raise WebSocketError(
                CloseCode.POLICY_VIOLATION,
                f"message of more than {self._max_fragments} frames (gateway.max_fragments)",
            )
        self._fragments += payload
        self._size = len(self._fragments)
        if not first & 0x80:
            return None
        whole = bytes(self._fragments)
        self._fragments, self._size, self._fragment_count = None, 0, 0
        return _message(self._opcode, whole)


def _message(opcode: int, payload: bytes) -> Received:
    if opcode == TEXT and not payload.isascii():
        try:
            str(payload, "utf-8")
        except UnicodeDecodeError:
            raise WebSocketError(
                CloseCode.INVALID_TEXT, "a text message is not UTF-8 (RFC 6455 §8.1)"
            ) from None
    return Received(opcode, payload)


def _extended_length(field: bytes) -> int:
    length = int.from_bytes(field, "big")
    if len(field) == 8 and field[0] & 0x80:
        raise _protocol_error("a 64-bit payload length with its highest bit set (RFC 6455 §5.2)")
    if length < 126 or (len(field) == 8 and length < 65_536):
        raise _protocol_error("a payload length that is not encoded in the fewest bytes (RFC 6455 §5.2)")
    return length


def _protocol_error(reason: str) -> WebSocketError:
    return WebSocketError(CloseCode.PROTOCOL_ERROR, reason)


def message_frame(frame: Frame) -> bytes:
    """Return a message of the server as a WebSocket frame, final and unmasked."""
    payload, first = frame.data, 0x80 | (BINARY if frame.binary else TEXT)
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a control frame of the server; its payload has at most 125 bytes (RFC 6455 §5.5)."""
    return bytes((0x80 | opcode, len(payload))) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """Return a close frame; it has no code if `code` is None."""
    if code is None:
        return control_frame(CLOSE, b"")
    return control_frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[:123])


def close_code(payload: bytes) -> int | None:
    """Return the code of a client's close frame, None if it has none.

    Raises:
        WebSocketError: if the payload is one byte, the code may not be sent, or the reason is not UTF-8.
    """
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or code in _RESERVED_CODES or not 1000 <= code < 5000:
        raise _protocol_error(f"a close frame with the code 0x{payload[:2].hex()} (RFC 6455 §7.4)")
    if 1016 <= code < 3000:
        raise _protocol_error(f"a close frame with the unassigned code {code} (RFC 6455 §7.4.2)")
    try:
        str(payload[2:], "utf-8")
    except UnicodeDecodeError:
        raise WebSocketError(
            CloseCode.INVALID_TEXT, "a close reason is not UTF-8 (RFC 6455 §5.5.1)"
        ) from None
    return code
