"""The bus in memory: nodes of one process, for tests and for programs that need no network.

A message is delivered before `publish` returns, unless a handler published it: then it is delivered after
the message that is being handled, so that all nodes receive both in the same order.
"""

from collections import Counter, deque
from collections.abc import Callable

from mesh.app import topics
from mesh.bus.contract import DirectPaths, Handlers, Status, Withdraw
from mesh.bus.frames import (
    BROADCAST,
    DIRECT,
    RECORDED,
    VERSION,
    Received,
    Recorded,
    decode_direct,
    encode_direct,
)
from mesh.bus.subscriptions import Subscription, Subscriptions
from mesh.protocol.messages import Sender
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

_RESERVED = topics.RESERVED.encode()


class MemoryNetwork:
    """Connects the nodes of one process."""

    def __init__(self) -> None:
        self._buses: dict[MemoryBus, None] = {}
        self._queue: deque[tuple[bytes, Received, bytes]] = deque()
        self._delivering = False

    def add(self, bus: "MemoryBus") -> None:
        """Deliver messages to this node from now on."""
        self._buses[bus] = None

    def remove(self, bus: "MemoryBus") -> None:
        """Stop delivering messages to this node."""
        self._buses.pop(bus, None)

    def send(self, frame: bytes, header: Received, data: bytes) -> None:
        """Deliver a message to every node that is subscribed to it."""
        self._queue.append((frame, header, data))
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._queue:
                message = self._queue.popleft()
                for bus in list(self._buses):
                    bus.arrived(*message)
        finally:
            self._delivering = False


class MemoryBus:
    """One node's bus. Implements Bus (mesh/bus/contract.py).

    Args:
        node: the id of the node.
        network: shared with the nodes that this one reaches; by default there are none.
    """

    def __init__(self, node: str, network: MemoryNetwork | None = None) -> None:
        self.node = node
        self.sequence = 0
        self.unread = False
        self.paths = DirectPaths()
        self._network = network or MemoryNetwork()
        self._subscription_counts = Counter([topics.exact(topics.of_node(node))])
        self._subscriptions = Subscriptions(self)
        self._handlers: Handlers | None = None

    def start(self, handlers: Handlers) -> None:
        """Receive messages from now on."""
        self._handlers = handlers
        self._subscriptions.use(handlers.keeps)
        self._network.add(self)

    def close(self) -> None:
        """Stop receiving messages."""
        self._network.remove(self)
        self._subscriptions.close()

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and deliver it."""
        header = self._header(BROADCAST, event, codec, sender)
        if self._handlers is not None and self._handlers.published is not None:
            self._handlers.published(topic, header.sequence)
        self._network.send(topics.exact(topic), header, data)
        return header.sequence

    def publish_recorded(
        self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None, recorded: Recorded
    ) -> int:
        """As `publish`, for a broadcast that this worker has recorded, or a claim."""
        header = self._header(RECORDED, event, codec, sender, recorded)
        own = event and not recorded.origin
        if own and self._handlers is not None and self._handlers.published is not None:
            self._handlers.published(topic, header.sequence)
        self._network.send(topics.exact(topic), header, data)
        return header.sequence

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, but to one node."""
        return self.publish_kind(DIRECT, topics.of_node(node), event, codec, encode_direct(topic, data))

    def publish_kind(
        self, kind: int, topic: str, event: str = "", codec: int = 0, data: bytes = b""
    ) -> int:
        """Number a message between nodes and deliver it."""
        header = self._header(kind, event, codec, None)
        self._network.send(topics.exact(topic), header, data)
        return header.sequence

    def subscribe(self, subscription: bytes) -> None:
        """Receive messages whose topic starts with these bytes."""
        self._subscription_counts[subscription] += 1

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""
        self._subscription_counts[subscription] -= 1
        if not self._subscription_counts[subscription]:
            del self._subscription_counts[subscription]

    def when_subscribed(self, callback: Callable[[], None]) -> Withdraw:
        """Call back at once: a subscription is in force as soon as it is made."""
        callback()
        return _nothing_to_withdraw

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Return the broadcasts on a topic, or on all topics with this prefix, for a loop."""
        return Subscription(self._subscriptions, pattern, max_queued)

    def delivered(self, origin: str, sequence: int) -> bool:
        """Return True: a message is delivered as soon as it is published."""
        return True

    async def confirmed(self, first: int, last: int) -> None:
        """Return at once."""

    def status(self) -> Status:
        """Return that the bus is connected and nothing waits."""
        return Status(connected=True, waiting=0, dropped=0, addresses=())

    def arrived(self, frame: bytes, header: Received, data: bytes) -> None:
        """Handle a message of any node if this one is subscribed to it."""
        try:
            if self._handlers is not None and self._is_subscribed(frame):
                self._handle(self._handlers, topics.of_frame(frame), header, data)
        except Exception as error:  # must not affect the messages after it
            counters.count("handlers_failed")
            log.error("handling a message failed", exc_info=error)

    def _is_subscribed(self, frame: bytes) -> bool:
        if frame[:1] == _RESERVED:
            return frame in self._subscription_counts
        return any(frame.startswith(each) for each in self._subscription_counts)

    def _handle(self, handlers: Handlers, topic: str, header: Received, data: bytes) -> None:
        handle = handlers.broadcast
        if header.kind == DIRECT:
            topic, data = decode_direct(data)
        elif header.kind == RECORDED:
            handle = handlers.recorded
        elif header.kind != BROADCAST:
            handle_message = handlers.messages.get(header.kind)
            if handle_message is not None:
                handle_message(header, data)
            return
        self._subscriptions.deliver(topic, header, data)
        if handle is not None:
            handle(topic, header, data)

    def _header(
        self, kind: int, event: str, codec: int, sender: Sender | None, recorded: Recorded | None = None
    ) -> Received:
        self.sequence += 1
        return Received(VERSION, kind, self.node, self.sequence, event, codec, sender, None, recorded)


def _nothing_to_withdraw() -> None:
    """The withdrawal of a callback that has already been called."""
