"""PubSub: subscribe and broadcast by topic across the whole mesh.

Source: Phoenix.PubSub. Works over any bus (mesh/bus/contract.py).
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, Self

from mesh import contexts, payloads, topics
from mesh.errors import ChannelError
from mesh.messages import Broadcast, Sender, check_event

MAX_QUEUED = 1_000
"""Broadcasts that wait in one subscription, unless it is given another number."""


class Subscription(Protocol):
    """Broadcasts on a topic, as they come: `async with` it, then `async for broadcast in` it.

    Once entered it misses none; without `async with`, the loop enters it.

    Attributes:
        dropped: broadcasts that did not fit into its queue; the oldest goes first.
    """

    dropped: int

    async def __aenter__(self) -> Self:
        """Subscribe; returns when the subscription is in force."""

    async def __aexit__(self, *exception: object) -> None:
        """Unsubscribe."""

    def __aiter__(self) -> AsyncIterator[Broadcast]:
        """Each broadcast; ends when the node stops."""


class Bus(Protocol):
    """What PubSub asks of a bus; the whole contract is in mesh/bus/contract.py."""

    @property
    def node(self) -> str:
        """The id of this node."""

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number and queue a broadcast; returns its sequence number."""

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, but only that node gets it."""

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Broadcasts on a topic, or on all topics that start so: `room:*`."""


LocalBroadcast = Callable[[str, str, Any], None]


class PubSub:
    """What applications and channels broadcast through.

    Args:
        bus: to all nodes.
        local: to the members of a topic that this node serves.
    """

    def __init__(self, bus: Bus, local: LocalBroadcast | None = None) -> None:
        self.bus = bus
        self._local = local

    def broadcast(self, topic: str, event: str, payload: Any) -> int:
        """Send `event` to every subscriber of `topic` on every node.

        Returns its number; it is numbered and queued, not yet delivered.

        Raises:
            TopicError: if `topic` starts with `$` or contains NUL.
            PayloadError: if the payload is neither an object nor bytes.
            ChannelError: if `event` is not a string, or one of the protocol itself, e.g. `phx_close`.
        """
        return self.broadcast_from(None, topic, event, payload)

    def broadcast_from(self, sender: Sender | None, topic: str, event: str, payload: Any) -> int:
        """As `broadcast`, naming the channel that made it (and is skipped, if it says so)."""
        codec, data = payloads.encode_object(payload)
        return self.bus.publish(topics.check(topic), check_event(event), codec, data, sender)

    def direct_broadcast(self, node: str, topic: str, event: str, payload: Any) -> int:
        """As `broadcast`, to the subscribers on one node only.

        A gateway's are its clients, but for channels that intercept the event; a worker's are the
        channels and background tasks that subscribed to the topic, and those channels. A node that
        is not there gets nothing, and nobody is told.

        Raises:
            TopicError: also if `node` is not the id of a node.
        """
        codec, data = payloads.encode_object(payload)
        topics.check_node(node)
        return self.bus.publish_direct(node, topics.check(topic), check_event(event), codec, data)

    def subscribe(self, pattern: str, max_queued: int = MAX_QUEUED) -> Subscription:
        """Broadcasts on a topic, or on all topics that start so: `room:*`.

        Args:
            pattern: a topic, or the start of topics followed by `*`.
            max_queued: broadcasts that may wait for the loop; beyond it the oldest are dropped.

        Raises:
            TopicError: for a topic that starts with `$`, and a `*` that is not at the end.
        """
        if max_queued < 1:
            raise ChannelError(f"max_queued {max_queued!r}; a subscription needs room for at least 1")
        return self.bus.subscription(topics.check_pattern(pattern), max_queued)

    @property
    def node_id(self) -> str:
        """The id of this node, for `direct_broadcast` to it."""
        return self.bus.node

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send `event` to those members of `topic` that this node serves; it does not travel on the bus.

        Raises:
            TopicError, PayloadError, ChannelError: as `broadcast`.
        """
        topics.check(topic)
        check_event(event)
        if self._local is not None:
            contexts.fresh().run(self._local, topic, event, payload)
