"""What callbacks may return, and the replies that result. Source: Phoenix.Channel, docs/channels.md."""

from typing import Any

from mesh.app.channel import Channel
from mesh.app.replies import Reply
from mesh.errors import ChannelError

_NO_PAYLOAD = Reply()
"""What most joins answer: one for all, because nobody changes it."""


def join_reply(channel: Channel, result: Any) -> Reply:
    """Return the reply to a join; its status says whether the join is accepted.

    Raises:
        ChannelError: if `join` must not return this.
    """
    if result is None:
        return _NO_PAYLOAD
    if isinstance(result, Reply) and result.status in ("ok", "error"):
        return result
    if isinstance(result, dict):
        return Reply(result)
    raise ChannelError(
        f"{type(channel).__name__}.join returned {result!r}; expected None, a reply dict,"
        " ok(value) or refuse(reason)"
    )


def push_reply(channel: Channel, event: Any, result: Any) -> Reply:
    """Return the reply to a push. Raises ChannelError if a handler must not return this."""
    if isinstance(result, Reply):
        return result
    if isinstance(result, (dict, list, bytes)):
        return Reply(result)
    raise ChannelError(
        f"{type(channel).__name__} returned {result!r} for {event!r}; expected None, a dict, a list,"
        " bytes, ok(value) or error(value)"
    )
