"""The contracts of a transport: how the hub sends to a client and closes it.

A transport calls `hub.connect(...)` when a client is authenticated, `hub.received(client, data, binary)`
for each message, and `hub.disconnected(client, reason)` when the client is gone.
"""

from collections.abc import Callable
from typing import Any, Protocol

from gateway.fanout.delivery_stats import TopicStats
from gateway.flow.backlog import broadcast_frame
from gateway.flow.watermark import HighWatermark
from mesh.serializers.base import Frame, Serializer


class Encoding:
    """A serializer, and how a transport makes its frames ready to be sent.

    One instance per combination: clients that share it are sent the same bytes.

    Attributes:
        ready: makes a frame ready.
        broadcast: lets what `ready` made of a broadcast say so (gateway/flow/backlog.py).
    """

    __slots__ = ("broadcast", "ready", "serializer")

    def __init__(
        self,
        serializer: Serializer,
        ready: Callable[[Frame], Any],
        broadcast: Callable[[Any, TopicStats, str], Any] = broadcast_frame,
    ) -> None:
        self.serializer = serializer
        self.ready = ready
        self.broadcast = broadcast


class OutboxContract(Protocol):
    """Where what is sent to a client goes."""

    watermark: HighWatermark | None
    """Looked at when something waits for the client; the hub sets it."""

    def send(self, frame: Any) -> None:
        """Queue what `Encoding.ready` made; never waits."""

    @property
    def unsent_bytes(self) -> int:
        """What waits for the client."""


class Transport(Protocol):
    """What the hub can do to a connection."""

    name: str

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, then close with this code."""

    def close_slow(self, unsent: int) -> None:
        """Close a client that does not keep up: `unsent` bytes or messages wait for it."""

    def pause(self) -> None:
        """Read no more from the client."""

    def resume(self) -> None:
        """Read again."""


class NoTransport:
    """The transport of a client that is gone: whatever is asked of it, nothing happens."""

    name = "none"

    def close(self, code: int, reason: str) -> None:
        """It is closed."""

    def close_slow(self, unsent: int) -> None:
        """It is closed."""

    def pause(self) -> None:
        """Nothing is read any more."""

    def resume(self) -> None:
        """Nothing is read any more."""


GONE = NoTransport()
