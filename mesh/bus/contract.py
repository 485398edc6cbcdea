"""The bus: how the nodes of a mesh exchange messages, and what every implementation guarantees.

Each node has one bus. Its gateway or worker, its calls, its announcements and its `PubSub` use only this
contract. Whether messages travel through ZeroMQ proxies (mesh/bus/zeromq), in memory (mesh/bus/memory.py)
or through a server such as NATS is decided where the node is assembled (nodes/).
`tests/contract/test_bus.py` verifies the guarantees below for every implementation.

**Messages.** A message consists of a topic, a header (mesh/bus/frames.py: kind, origin, sequence, event,
codec, sender) and a payload of bytes. The kinds BROADCAST, RECORDED and DIRECT belong to the application;
the others are exchanged between nodes: announcements, calls, presence. A broadcast of a topic with a
history is published again, as RECORDED, by the worker that records the topic (mesh/history/recorder.py);
`Handlers.keeps` tells the bus which broadcasts its subscriptions must therefore ignore. Topics that start
with `$` are reserved for the mesh; the bus carries them like any other topic.

**Guarantees**

1. *Numbering.* The messages that a node publishes are numbered consecutively, starting with 1. `publish`
   returns the number, and the header of the received message contains it.
2. *Order.* Broadcasts of one node to one topic are delivered everywhere in the order in which they were
   published, even while servers fail and return.
3. *At most once.* A message of a kind in `frames.RESENT_KINDS` is delivered to a node at most once. An
   implementation that sends messages again after a failure must drop duplicates, by (origin, sequence),
   before it calls handlers.
4. *No silent loss.* While no server can be reached, messages of the kinds in `frames.RESENT_KINDS` wait in
   a bounded queue. Messages that exceed the bound are dropped, counted (`bus_backlog_dropped`) and reported
   in `Status.dropped`. The senders of other kinds repeat them, or can do without them.
5. *Subscriptions in force.* Once the callback given to `when_subscribed` runs, no broadcast that any node
   publishes afterwards is missed on a topic subscribed to before that call. Joins wait for this.
6. *Own messages.* A node that is subscribed to a topic also receives its own messages on it.
7. *Event loop.* All methods are called, and all handlers run, in the thread of one event loop. Only the
   coroutine `confirmed` waits. An exception in a handler affects only the message being handled.
8. *Malformed messages.* A message that cannot be decoded is counted, logged and dropped; others are
   unaffected.

**A complete example**, in which the nodes of one process share a list. The suite runs against it too:

    import asyncio
    from collections import Counter

    from mesh.app import topics
    from mesh.bus.contract import DirectPaths, Status
    from mesh.bus.frames import (
        BROADCAST, DIRECT, RECORDED, VERSION, Received, decode_direct, encode_direct,
    )
    from mesh.bus.subscriptions import Subscription, Subscriptions

    class ListBus:
        def __init__(self, node, nodes):
            self.node, self.sequence, self.unread, self.paths = node, 0, False, DirectPaths()
            self._nodes = nodes
            self._subscription_counts = Counter([topics.exact(topics.of_node(node))])
            self._subscriptions = Subscriptions(self)
            self._last_handled = {}

        def start(self, handlers):
            self._handlers = handlers
            self._subscriptions.use(handlers.keeps)
            self._nodes.append(self)

        def close(self):
            if self in self._nodes:
                self._nodes.remove(self)
            self._subscriptions.close()

        def publish(self, topic, event, codec, data, sender):
            number = self._send(BROADCAST, topic, event, codec, data, sender)
            if self._handlers.published is not None:
                self._handlers.published(topic, number)
            return number

        def publish_recorded(self, topic, event, codec, data, sender, recorded):
            number = self._send(RECORDED, topic, event, codec, data, sender, recorded)
            if self._handlers.published is not None and event and not recorded.origin:
                self._handlers.published(topic, number)
            return number

        def publish_direct(self, node, topic, event, codec, data):
            return self.publish_kind(DIRECT, topics.of_node(node), event, codec, encode_direct(topic, data))

        def publish_kind(self, kind, topic, event="", codec=0, data=b""):
            return self._send(kind, topic, event, codec, data, None)

        def _send(self, kind, topic, event, codec, data, sender, recorded=None):
            self.sequence += 1
            header = Received(
                VERSION, kind, self.node, self.sequence, event, codec, sender, None, recorded
            )
            for each in self._nodes:  # in order; an error affects only that message
                asyncio.get_running_loop().call_soon(each._arrived, topics.exact(topic), header, data)
            return self.sequence

        def _arrived(self, frame, header, data):
            self._last_handled[header.origin] = header.sequence
            if self not in self._nodes or not self._is_subscribed(frame):
                return
            topic = topics.of_frame(frame)
            if header.kind == DIRECT:
                topic, data = decode_direct(data)
            if header.kind in (BROADCAST, DIRECT, RECORDED):
                self._subscriptions.deliver(topic, header, data)
            if header.kind in (BROADCAST, DIRECT):
                if self._handlers.broadcast is not None:
                    self._handlers.broadcast(topic, header, data)
            elif header.kind == RECORDED:
                if self._handlers.recorded is not None:
                    self._handlers.recorded(topic, header, data)
            elif header.kind in self._handlers.messages:
                self._handlers.messages[header.kind](header, data)

        def _is_subscribed(self, frame):
            if frame.startswith(b"$"):
                return frame in self._subscription_counts
            return any(frame.startswith(each) for each in self._subscription_counts)

        def subscribe(self, subscription):
            self._subscription_counts[subscription] += 1

        def unsubscribe(self, subscription):
            self._subscription_counts -= Counter([subscription])

        def when_subscribed(self, callback):
            return asyncio.get_running_loop().call_soon(callback).cancel

        def subscription(self, pattern, max_queued):
            return Subscription(self._subscriptions, pattern, max_queued)

        def delivered(self, origin, sequence):
            return self._last_handled.get(origin, 0) >= sequence

        async def confirmed(self, first, last):
            return  # the list has them

        def status(self):
            return Status(connected=True, waiting=0, dropped=0, addresses=())

**Writing another implementation**, for example over NATS: a topic becomes a subject (in such a way that a
prefix such as `room:` can be subscribed to), and the three parts of a message become its body. Guarantee 5
is a flush that the server has answered, and so is `confirmed`. Guarantees 1 to 3 hold as long as one
connection lasts; after a reconnect, messages that were not confirmed are sent again with their old numbers,
therefore duplicates must be dropped. mesh/bus/zeromq/resend_buffer.py and duplicates.py are pure and can be
reused. A server that knows who subscribes to what needs no `Paths` of its own: `DirectPaths` does nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mesh.app.pubsub import Subscription
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Header, Received, Recorded
from mesh.protocol.messages import Sender

OnBroadcast = Callable[[str, Received, bytes], None]
Keeps = Callable[[str, str], bool]
OnMessage = Callable[[Header, bytes], None]
Withdraw = Callable[[], None]
"""Withdraws a callback that has not been called yet; has no effect afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What a node does with messages and changes of its bus. None means that the node does not need it.

    A handler may be called before `publish` has returned (in memory) or later (over a network).

    Attributes:
        broadcast: called with (topic, header, payload) of each broadcast that matches a subscription.
        recorded: called with (topic, header, payload) of each recorded broadcast, and each claim, that
            matches a subscription.
        keeps: returns whether broadcasts of (topic, event) are kept, so that they arrive as recorded ones
            as well; then subscriptions ignore the original. None if it is not known here: subscriptions
            then deliver whichever arrives first.
        messages: by kind, called with (header, payload) of each message between nodes that matches a
            subscription. Kinds without a handler, including those of later versions, are ignored.
        published: called with (topic, sequence) of each broadcast of this node that `publish` or
            `publish_recorded` has numbered.
        unread: called with `Bus.unread` when it changes.
        paths_changed: called when the result of `Paths.describe` has changed and should be announced.
        ignores_own: whether `recorded` has no use for what this node has recorded itself, except on topics
            that it subscribes to exactly; the bus may then leave it out.
    """

    broadcast: OnBroadcast | None
    recorded: OnBroadcast | None
    keeps: Keeps | None
    messages: Mapping[int, OnMessage]
    published: Callable[[str, int], None] | None
    unread: Callable[[bool], None] | None
    paths_changed: Callable[[], None] | None
    ignores_own: bool = False


class Status(NamedTuple):
    """The state of the bus.

    Attributes:
        connected: whether messages can be delivered at the moment.
        waiting: the number of messages that wait for a server.
        dropped: the number of messages dropped since the start because too many waited.
        addresses: where the bus looks for its servers; a problem with a name follows in parentheses.
    """

    connected: bool
    waiting: int
    dropped: int
    addresses: tuple[str, ...]


class Paths(Protocol):
    """How the bus reaches the other nodes, if there are several paths.

    Messages are lost if a node publishes them through a proxy that another node is not connected to.
    Therefore nodes announce which proxies they receive from and publish through, and each bus takes this
    into account.
    """

    def describe(self, announcement: Announcement) -> Announcement:
        """Return the announcement of this node, completed with what other nodes must know about its bus."""

    def node_announced(self, announcement: Announcement) -> None:
        """Take note of another node's announcement."""

    def node_gone(self, node: str) -> None:
        """A node has stopped or is considered dead: do not wait for its connections any longer."""

    def use_version(self, version: int) -> None:
        """Publish headers of this version from now on: the newest that all live nodes can read."""

    def server_of(self, topic: str) -> str:
        """Return the server through which a topic is sent now; empty if there is none."""


class DirectPaths:
    """For a bus whose server knows the subscribers. Implements Paths."""

    def describe(self, announcement: Announcement) -> Announcement:
        """Return the announcement unchanged."""
        return announcement

    def node_announced(self, announcement: Announcement) -> None:
        """No effect."""

    def node_gone(self, node: str) -> None:
        """No effect."""

    def use_version(self, version: int) -> None:
        """No effect: there is only one version so far."""

    def server_of(self, topic: str) -> str:
        """Return an empty string: there is only one path."""
        return ""


class Bus(Protocol):
    """One node's bus, with the guarantees of this module.

    Attributes:
        node: the id of this node. Messages on `topics.of_node(node)` are delivered without a subscription.
        sequence: the number of the last message that this node published; 0 before the first.
        unread: whether messages have arrived that have not been handled yet.
        paths: how the other nodes are reached.
    """

    @property
    def node(self) -> str: ...  # noqa: D102

    @property
    def sequence(self) -> int: ...  # noqa: D102

    @property
    def unread(self) -> bool: ...  # noqa: D102

    @property
    def paths(self) -> Paths: ...  # noqa: D102

    def start(self, handlers: Handlers) -> None:
        """Connect, and call `handlers` from now on; return before a connection is established.

        Raises:
            MeshError: if an address or a key cannot be used; `close` must still be called.
        """

    def close(self) -> None:
        """Disconnect, after a moment to send what was published. Loops over subscriptions end.

        A second call has no effect.
        """

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast, queue it, and return its number.

        Args:
            topic: the topic, already checked by the caller (mesh/app/topics.py).
            event: the event of the broadcast.
            codec: the codec of the payload: JSON, BINARY or MSGPACK (mesh/protocol/messages.py).
            data: the encoded payload.
            sender: the channel that made the broadcast, or None.
        """

    def publish_recorded(
        self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None, recorded: Recorded
    ) -> int:
        """As `publish`, for a broadcast that this worker has recorded, or a claim if `event` is empty."""

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, but to one node, which need not be subscribed to the topic."""

    def publish_kind(
        self, kind: int, topic: str, event: str = "", codec: int = 0, data: bytes = b""
    ) -> int:
        """Number a message between nodes, queue it, and return its number."""

    def subscribe(self, subscription: bytes) -> None:
        """Receive messages whose topic, including its terminator, starts with these bytes.

        `topics.exact(topic)` and `topics.prefix(pattern)` make them; `b""` matches all topics except those
        that start with `$`. Calls are counted: it takes the same number of `unsubscribe` calls to undo
        them. Never waits.
        """

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""

    def when_subscribed(self, callback: Callable[[], None]) -> Withdraw:
        """Call back once every subscription made so far is in force (guarantee 5).

        Callbacks run in the order in which they were given, in memory possibly before this call returns;
        while no server answers, none runs. A withdrawn callback must be freed at once.
        """

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Return the broadcasts for a loop; `Subscriptions` (mesh/bus/subscriptions.py) implements it."""

    def delivered(self, origin: str, sequence: int) -> bool:
        """Return whether this broadcast has been handled, or will never arrive."""

    async def confirmed(self, first: int, last: int) -> None:
        """Return once servers have accepted every message of this node with these numbers.

        A program that exits afterwards loses none of them. There is no time limit.
        """

    def status(self) -> Status:
        """Return the current state of the bus."""
