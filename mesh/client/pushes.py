"""The pushes whose callers wait: each gets the response of its reply, or an error."""

import asyncio
from typing import Any

from mesh.client import actions
from mesh.client.channel_state import PushState
from mesh.errors import BufferFull, ChannelClosed, ClientError, PushError, PushLost, PushTimeout
from mesh.telemetry import get_logger

log = get_logger(__name__)


class Pushes:
    """The waiting pushes of one client.

    Args:
        max_buffered: the client's option, for an error message.

    Attributes:
        waiting: the future of each push.
    """

    def __init__(self, max_buffered: int) -> None:
        self.waiting: dict[PushState, asyncio.Future[Any]] = {}
        self._max_buffered = max_buffered

    def add(self, push: PushState) -> asyncio.Future[Any]:
        """Return a future of a push's result; `remove` the push afterwards."""
        waiting = self.waiting[push] = asyncio.get_running_loop().create_future()
        return waiting

    def remove(self, push: PushState) -> None:
        """Remove a push that no caller waits for any longer."""
        self.waiting.pop(push, None)

    def replied(self, action: actions.Replied) -> None:
        """Set the result of a push that got its reply."""
        push, status, response = action
        waiting = self.waiting.get(push)
        if waiting is None or waiting.done():
            return
        if status == "ok":
            waiting.set_result(response)
        else:
            waiting.set_exception(PushError(push.channel.topic, push.event, status, response))

    def failed(self, action: actions.Failed) -> None:
        """Set the error of a push that will get no reply; log it if no caller waits."""
        push, reason = action
        waiting = self.waiting.get(push)
        if waiting is None:
            log.warning("a cast was not sent", topic=push.channel.topic, cast=push.event, reason=reason)
        elif not waiting.done():
            waiting.set_exception(self._error(push, reason))

    def _error(self, push: PushState, reason: actions.FailureReason) -> ClientError:
        what = f"{push.event!r} on {push.channel.topic!r}"
        match reason:
            case "timeout":
                return PushTimeout(f"{what} was not answered within {push.timeout:g} seconds")
            case "lost":
                return PushLost(f"{what}: channel or connection ended before the reply")
            case "full":
                return BufferFull(
                    f"{what}: {self._max_buffered} pushes wait for the channel (max_buffered)"
                )
            case _:
                return ChannelClosed(f"{what}: the channel is left or closed")
