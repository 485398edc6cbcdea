"""Replies: what answers a join, a push or a connection, and how a push is named to be answered later."""

from dataclasses import dataclass, field
from typing import Any


class NoPayload:
    """The type of NO_PAYLOAD."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "{}"


NO_PAYLOAD: Any = NoPayload()
"""The default of arguments that take a payload: the client gets `{}`. None is a payload, `null`."""


def given(payload: Any) -> Any:
    """The payload, or `{}` for NO_PAYLOAD."""
    return {} if payload is NO_PAYLOAD else payload


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler returns to answer a push; `ok()` and `error()` make one."""

    payload: Any = field(default_factory=dict)
    status: str = "ok"


def ok(payload: Any = NO_PAYLOAD) -> Reply:
    """A reply of status ok: any JSON value, or bytes. `ok()` answers `{}`, `ok(None)` answers `null`."""
    return Reply(given(payload), "ok")


def error(payload: Any = NO_PAYLOAD) -> Reply:
    """A reply of status error; from `join` it refuses. The payload is that of `ok`."""
    return Reply(given(payload), "error")


def refuse(reason: Any = NO_PAYLOAD) -> Reply:
    """Refuse a join or a connection: `refuse("unauthorized")` is `error({"reason": "unauthorized"})`.

    What is not text is the whole payload: `refuse({"code": 7})` is `error({"code": 7})`.
    """
    return error({"reason": reason} if isinstance(reason, str) else reason)


@dataclass(frozen=True, slots=True)
class SocketRef:
    """Names one push of the client, so that it can be replied to later, from anywhere."""

    topic: str
    ref: Any
