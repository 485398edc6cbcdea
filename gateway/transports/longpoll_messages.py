"""What stands in a long-poll POST: one message, or lines of NDJSON. Source: Phoenix.Transports.LongPoll."""

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any

from mesh.telemetry import counters, get_logger

log = get_logger("gateway.longpoll")

MAX_LINES = 100
"""Of one POST, as in Phoenix; clients send no more since 1.7.22 and 1.8.6. The rest is counted."""
MAX_BASE64_CHARACTERS = 10_000_000


def messages_of(request: Any) -> list[tuple[bytes, bool]]:
    """(bytes, whether binary) of each message in a POST."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-ndjson":
        return [(request.body, False)]
    lines = [line for line in request.body.replace(b"\r\n", b"\n").split(b"\n") if line]
    if len(lines) > MAX_LINES:
        counters.count("longpoll_lines_dropped", len(lines) - MAX_LINES)
        log.warning("long-poll lines dropped", lines=len(lines), limit=MAX_LINES)
    return [_message(line) for line in lines[:MAX_LINES]]


def _message(line: bytes) -> tuple[bytes, bool]:
    if line.startswith(b"["):
        return line, False
    try:
        if len(line) <= MAX_BASE64_CHARACTERS:
            return b64decode(line, validate=True), True
    except Base64Error:
        pass
    return b"", True  # no message: as in Phoenix it ends the session
