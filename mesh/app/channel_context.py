"""ChannelContext: the interface through which a Channel acts, so that it opens no connections itself.

The worker provides it (mesh/worker/channel/context.py); tests may provide another one.
"""

from collections.abc import Awaitable
from typing import Any, Protocol

from mesh.app.history import KeptBroadcast
from mesh.app.replies import SocketRef
from mesh.protocol.messages import Sender


class ChannelContext(Protocol):
    """What a channel needs from the worker that runs it."""

    def push(self, event: str, payload: Any) -> None:
        """Send an event to this client."""

    def reply(self, ref: SocketRef | None, status: str, payload: Any) -> None:
        """Reply to a push of this client; None means the push being handled."""

    def broadcast(self, event: str, payload: Any, to_self: bool) -> None:
        """Send an event to all members of the topic."""

    def sender(self) -> Sender:
        """Return this channel as the sender of a broadcast that it must not receive."""

    def socket_ref(self) -> SocketRef:
        """Return a reference to the push being handled."""

    def stop(self, reason: str) -> None:
        """End the channel after the current callback."""

    def send(self, message: Any, delay_seconds: float) -> None:
        """Queue `message` for `handle_info`."""

    def timeout(self, seconds: float) -> None:
        """Queue TIMEOUT for `handle_info` after this much silence."""

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Pass broadcasts on `topic` to `handle_info`."""

    def unsubscribe(self, topic: str) -> None:
        """Stop passing broadcasts on `topic` to `handle_info`."""

    async def history(self, limit: int, before: int | None) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of the topic, the oldest of them first."""
