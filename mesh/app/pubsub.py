"""PubSub: subscribe and broadcast by topic across the whole mesh.

Source: Phoenix.PubSub. Works over any bus (mesh/bus/contract.py).
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, Self

from mesh import contexts
from mesh.app import topics
from mesh.app.history import LIST_LIMIT, KeptBroadcast, check_range
from mesh.errors import ChannelError
from mesh.protocol import payloads
from mesh.protocol.messages import Broadcast, Sender, check_event

MAX_QUEUED = 1_000
"""The default number of broadcasts that may wait in one subscription."""


class Subscription(Protocol):
    """Broadcasts on a topic, as they arrive: `async with` it, then `async for broadcast in` it.

    Once entered, it misses none. A loop without `async with` enters it automatically.

    Attributes:
        dropped: the number of broadcasts that did not fit into its queue; the oldest are dropped first.
    """

    dropped: int

    async def __aenter__(self) -> Self:
        """Subscribe; return when the subscription is in force."""

    async def __aexit__(self, *exception: object) -> None:
        """Unsubscribe."""

    def __aiter__(self) -> AsyncIterator[Broadcast]:
        """Yield each broadcast; end when the node stops."""


class Bus(Protocol):
    """What PubSub needs from a bus; mesh/bus/contract.py has the complete contract."""

    @property
    def node(self) -> str:
        """The id of this node."""

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number and queue a broadcast; return its sequence number."""

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, but only to that node."""

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Return the broadcasts on a topic, or on all topics with a prefix: `room:*`."""


LocalBroadcast = Callable[[str, str, Any], None]
Publish = Callable[[str, str, int, bytes, Sender | None], int]


class Histories(Protocol):
    """The histories of all topics; `HistoryReader` (mesh/history/reader.py) implements it."""

    async def list(self, topic: str, limit: int, before: int | None) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of a topic, the oldest of them first."""

    async def forget(self, topic: str) -> None:
        """Remove the history of a topic; it begins a new epoch."""


class PubSub:
    """Broadcasts for applications and channels.

    Args:
        bus: publishes to all nodes.
        local: broadcasts to the members of a topic that this node serves.
        histories: the kept broadcasts; None if this node cannot read them.
        publish: publishes a broadcast; by default on the bus.
    """

    def __init__(
        self,
        bus: Bus,
        local: LocalBroadcast | None = None,
        histories: Histories | None = None,
        publish: Publish | None = None,
    ) -> None:
        self.bus = bus
        self._local = local
        self._histories = histories
        self._publish = publish if publish is not None else bus.publish

    def broadcast(self, topic: str, event: str, payload: Any) -> int:
        """Send `event` to every subscriber of `topic` on every node.

        Returns its number. The message is then numbered and queued, not yet delivered.

        Raises:
            TopicError: if `topic` starts with `$` or contains NUL.
            PayloadError: if the payload is neither an object nor bytes.
            ChannelError: if `event` is not a string, or is reserved by the protocol, e.g. `phx_close`.
        """
        return self.broadcast_from(None, topic, event, payload)

    def broadcast_from(self, sender: Sender | None, topic: str, event: str, payload: Any) -> int:
        """As `broadcast`, with the channel that made it, which is skipped if `sender.skip` is set."""
        codec, data = payloads.encode_object(payload)
        return self._publish(topics.check(topic), check_event(event), codec, data, sender)

    def direct_broadcast(self, node: str, topic: str, event: str, payload: Any) -> int:
        """As `broadcast`, to the subscribers on one node only.

        On a gateway these are its clients, except for channels that intercept the event; on a worker the
        channels and background tasks that subscribed to the topic, and those channels. If there is no such
        node, the broadcast is lost without an error.

        Raises:
            TopicError: also if `node` is not a valid node id.
        """
        codec, data = payloads.encode_object(payload)
        topics.check_node(node)
        return self.bus.publish_direct(node, topics.check(topic), check_event(event), codec, data)

    def subscribe(self, pattern: str, max_queued: int = MAX_QUEUED) -> Subscription:
        """Return the broadcasts on a topic, or on all topics with a prefix: `room:*`.

        Args:
            pattern: a topic, or a prefix followed by `*`.
            max_queued: the most broadcasts that may wait to be read; beyond it the oldest are dropped.

        Raises:
            TopicError: if the topic starts with `$`, or has a `*` that is not at its end.
        """
        if max_queued < 1:
            raise ChannelError(f"max_queued is {max_queued!r}; want an integer of at least 1")
        return self.bus.subscription(topics.check_pattern(pattern), max_queued)

    async def history(
        self, topic: str, limit: int = LIST_LIMIT, before: int | None = None
    ) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of a topic, the oldest of them first.

        Args:
            topic: the topic.
            limit: the most broadcasts to return.
            before: return only broadcasts with a smaller offset; None for the newest.

        Raises:
            HistoryUnavailableError: if the history cannot be read now.
            ChannelError: if the topic has no history, or for an invalid `limit` or `before`.
            TopicError: if `topic` starts with `$` or contains NUL.
        """
        check_range(limit, before)
        return await self._require_histories().list(topics.check(topic), limit, before)

    async def forget(self, topic: str) -> None:
        """Remove the history of a topic, which begins a new epoch. Raises as `history`."""
        await self._require_histories().forget(topics.check(topic))

    def _require_histories(self) -> Histories:
        if self._histories is None:
            raise ChannelError("this node cannot read histories")
        return self._histories

    @property
    def node_id(self) -> str:
        """The id of this node, to which `direct_broadcast` can be addressed."""
        return self.bus.node

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send `event` to the members of `topic` that this node serves, without publishing it on the bus.

        Raises:
            TopicError, PayloadError, ChannelError: as `broadcast`.
        """
        topics.check(topic)
        check_event(event)
        if self._local is not None:
            contexts.fresh().run(self._local, topic, event, payload)
