"""What a callback may return, and which reply it means. Source: Phoenix.Channel, docs/channels.md."""

from typing import Any

from mesh.channel import Channel
from mesh.errors import ChannelError
from mesh.replies import Reply

_NO_PAYLOAD = Reply()
"""What most joins answer: one for all, because nobody changes it."""


def join_reply(channel: Channel, result: Any) -> Reply:
    """The reply to a join; its status says whether the join is accepted.

    Raises:
        ChannelError: for what `join` may not return.
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
    """The reply to a push. Raises ChannelError for what a handler may not return."""
    if isinstance(result, Reply):
        return result
    if isinstance(result, (dict, list, bytes)):
        return Reply(result)
    raise ChannelError(
        f"{type(channel).__name__} returned {result!r} for {event!r}; expected None, a dict, a list,"
        " bytes, ok(value) or error(value)"
    )
