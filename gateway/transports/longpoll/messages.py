"""Parses a long-poll POST: one message, or lines of NDJSON. Source: Phoenix.Transports.LongPoll."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from itertools import islice
from typing import Any

from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

MAX_LINES = 100
"""The limit of one POST, as in Phoenix; clients keep to it since 1.7.22 and 1.8.6. The rest is counted."""
MAX_BASE64_CHARACTERS = 10_000_000

_LINE = re.compile(rb"[^\r\n][^\n]*")


def messages_of(request: Any) -> list[tuple[bytes, bool]]:
    """Return (bytes, whether binary) of each message in a POST."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-ndjson":
        return [(request.body, False)]
    body, messages, end = request.body, [], 0
    for line in islice(_LINE.finditer(body), MAX_LINES):  # further lines are not parsed
        messages.append(_message(line[0].removesuffix(b"\r")))
        end = line.end()
    rest = body[end:].strip(b"\r\n")
    if rest:
        dropped = rest.count(b"\n") + 1
        counters.count("longpoll_lines_dropped", dropped)
        log.warning("long-poll lines dropped", lines=MAX_LINES + dropped, limit=MAX_LINES)
    return messages


def _message(line: bytes) -> tuple[bytes, bool]:
    if line.startswith(b"["):
        return line, False
    try:
        if len(line) <= MAX_BASE64_CHARACTERS:
            return b64decode(line, validate=True), True
    except Base64Error:
        pass
    return b"", True  # not a message; as in Phoenix, it ends the session
