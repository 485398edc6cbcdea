"""ChannelContext: through it a Channel does what it does, and opens nothing itself.

The worker fills it in (mesh/worker/channel/context.py), and a test may replace it.
"""

from collections.abc import Awaitable
from typing import Any, Protocol

from mesh.messages import Sender
from mesh.replies import SocketRef


class ChannelContext(Protocol):
    """What a channel needs of the worker that runs it."""

    def push(self, event: str, payload: Any) -> None:
        """To this client."""

    def reply(self, ref: SocketRef | None, status: str, payload: Any) -> None:
        """To a push of this client; None is the one being handled."""

    def broadcast(self, event: str, payload: Any, to_self: bool) -> None:
        """To all members of the topic."""

    def sender(self) -> Sender:
        """Names this channel as one that must not get a broadcast."""

    def socket_ref(self) -> SocketRef:
        """The push being handled."""

    def stop(self, reason: str) -> None:
        """End the channel after the current callback."""

    def send(self, message: Any, delay_seconds: float) -> None:
        """Queue `message` for `handle_info`."""

    def timeout(self, seconds: float) -> None:
        """Queue TIMEOUT for `handle_info` after so much silence."""

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Deliver broadcasts on `topic` to `handle_info`."""

    def unsubscribe(self, topic: str) -> None:
        """No longer."""
