"""PubSub: subscribe and broadcast by topic across the whole mesh.

Source: Phoenix.PubSub. Works over a `BusAdapter`; mesh/bus fills it in over ZeroMQ.
"""

from collections.abc import Callable
from typing import Any, Protocol

from mesh import payloads, topics
from mesh.messages import Sender, check_name


class BusAdapter(Protocol):
    """How PubSub reaches the other nodes.

    Broadcasts of one adapter to one topic are delivered in the order published, at most once.
    """

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number and queue a broadcast; returns its sequence number."""

    def subscribe(self, subscription: bytes) -> None:
        """Receive what starts with these bytes (`topics.exact`, `topics.prefix`); counted."""

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""

    def when_subscribed(self, callback: Callable[[], None]) -> None:
        """Call back once all subscriptions made so far are in force at the proxy."""


LocalBroadcast = Callable[[str, str, Any], None]


class PubSub:
    """What applications and channels broadcast through.

    Args:
        bus: to all nodes.
        local: to the members of a topic that this node serves.
    """

    def __init__(self, bus: BusAdapter, local: LocalBroadcast | None = None) -> None:
        self.bus = bus
        self._local = local

    def broadcast(self, topic: str, event: str, payload: Any) -> int:
        """Send `event` to every subscriber of `topic` on every node.

        Returns its number; it is numbered and queued, not yet delivered.

        Raises:
            TopicError: if `topic` starts with `$` or contains NUL.
            PayloadError: if the payload is neither an object nor bytes.
            ChannelError: if `event` is not a string.
        """
        return self.broadcast_from(None, topic, event, payload)

    def broadcast_from(self, sender: Sender | None, topic: str, event: str, payload: Any) -> int:
        """As `broadcast`, naming the channel that made it (and is skipped, if it says so)."""
        codec, data = payloads.encode_object(payload)
        return self.bus.publish(topics.check(topic), check_name(event, "event"), codec, data, sender)

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send `event` to those members of `topic` that this node serves; it does not travel on the bus.

        Raises:
            TopicError, PayloadError, ChannelError: as `broadcast`.
        """
        topics.check(topic)
        check_name(event, "event")
        if self._local is not None:
            self._local(topic, event, payload)
