"""Replies: what answers a join, a push or a connection, and how a push is named to be answered later."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler returns to answer a push; `ok()` and `error()` make one."""

    payload: Any = None
    status: str = "ok"


def ok(payload: Any = None) -> Reply:
    """A reply of status ok: any JSON value, or bytes; without payload `{}`."""
    return Reply(payload, "ok")


def error(payload: Any = None) -> Reply:
    """A reply of status error; from `join` it refuses."""
    return Reply(payload, "error")


def refuse(reason: Any = None) -> Reply:
    """Refuse a join or a connection: `refuse("unauthorized")` is `error({"reason": "unauthorized"})`."""
    return Reply({"reason": reason} if isinstance(reason, str) else reason, "error")


@dataclass(frozen=True, slots=True)
class SocketRef:
    """Names one push of the client, so that it can be replied to later, from anywhere."""

    topic: str
    ref: Any
