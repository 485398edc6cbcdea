"""Replies to joins, pushes and connections, and references to pushes that are answered later."""

from dataclasses import dataclass, field
from typing import Any


class NoPayload:
    """The type of NO_PAYLOAD."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "{}"


NO_PAYLOAD: Any = NoPayload()
"""The default of payload arguments: the client receives `{}`. None is a payload, `null`."""


def payload_or_default(payload: Any) -> Any:
    """Return the payload, or `{}` for NO_PAYLOAD."""
    return {} if payload is NO_PAYLOAD else payload


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler returns to reply to a push; `ok()` and `error()` create one."""

    payload: Any = field(default_factory=dict)
    status: str = "ok"


def ok(payload: Any = NO_PAYLOAD) -> Reply:
    """Return a reply with status ok; the payload is any JSON value or bytes, `{}` if left out."""
    return Reply(payload_or_default(payload), "ok")


def error(payload: Any = NO_PAYLOAD) -> Reply:
    """Return a reply with status error; returned from `join`, it refuses. The payload is as for `ok`."""
    return Reply(payload_or_default(payload), "error")


def refuse(reason: Any = NO_PAYLOAD) -> Reply:
    """Refuse a join or a connection: `refuse("unauthorized")` is `error({"reason": "unauthorized"})`.

    A reason that is not a string is the whole payload: `refuse({"code": 7})` is `error({"code": 7})`.
    """
    return error({"reason": reason} if isinstance(reason, str) else reason)


@dataclass(frozen=True, slots=True)
class SocketRef:
    """Identifies one push of the client, so that it can be replied to later, from anywhere."""

    topic: str
    ref: Any
