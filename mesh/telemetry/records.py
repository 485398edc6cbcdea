"""Converts one line of output into one record, JSON or logfmt, with the node's name as a field."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

RECORD_FORMATS = ("json", "logfmt")

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_LOGFMT = re.compile(r'(?:[A-Za-z_][\w.-]*=(?:"(?:[^"\\]|\\.)*"|[^\s"=]*)(?: |\Z))+')
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")
"""Control characters, and what some programs take for a line end. `json` escapes only the first range."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NODE = re.compile(r"(?:^| )node=")
_decode = msgspec.json.Decoder().decode
_logfmt = structlog.processors.LogfmtRenderer()


def encode(format: str, fields: dict[str, Any]) -> str:
    """Return a record as one line, without the line end."""
    if format == "json":
        return _escape(json.dumps(fields, default=repr, ensure_ascii=False))
    return _escape(str(_logfmt(None, "", {_key(key): value for key, value in fields.items()})))


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def record(event: str, node: str, level: str = "info", **fields: Any) -> dict[str, Any]:
    """Return the fields of a record: those that every record has, and others."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"event": event, **fields, "level": level, "timestamp": now, "node": node}


def to_record(format: str, line: str, node: str) -> str | None:
    """Return printed text as a record of this node; None for an empty line.

    A line that already is a record is kept; the node's name is added if it has none.
    """
    text = _ANSI.sub("", line).strip()
    if not text:
        return None
    if format == "json":
        fields = _json_object(text)
        if fields is None:
            return encode(format, record(text, node))
        kept = "node" in fields and text.isprintable()
        return text if kept else encode(format, {"node": node, **fields})
    if _LOGFMT.fullmatch(text):
        text = _escape(text)
        return text if _NODE.search(text) else f"{text} {encode(format, {'node': node})}"
    return encode(format, record(text, node))


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = _decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    return found if isinstance(found, dict) else None


def _key(key: Any) -> str:
    return re.sub(r'[\s="]+', "_", str(key)) or "_"
