"""The bus: how the nodes of a mesh reach each other. What every implementation guarantees.

A node has one bus. Its gateway or worker, its calls, its announcements and its `PubSub` know this contract
and nothing else; whether ZeroMQ proxies (mesh/bus/zeromq), memory (mesh/bus/memory.py) or a server such as
NATS carries the messages is decided where the node is put together (nodes/). `tests/contract/test_bus.py`
proves the guarantees below for every implementation.

**What a message is.** A topic, a header (mesh/bus/frames.py: kind, origin, sequence, event, codec, sender)
and a payload of bytes. Kinds BROADCAST and DIRECT are the application's; the others are between nodes:
announcements, calls, presence. Topics that start with `$` belong to the mesh; the bus carries them as any
other topic.

**Guarantees**

1. *Numbers.* Each message that a node publishes gets the next number of that node, starting with 1. The
   number is returned by `publish` and is in the header that arrives.
2. *Order.* Broadcasts of one node to one topic arrive everywhere in the order in which they were published,
   also while servers come and go.
3. *At most once.* A message of a kind in `frames.KEPT` arrives at a node once or never. An implementation
   that sends again after a failure has to drop duplicates, by (origin, sequence), before it calls
   handlers.
4. *Nothing is lost silently.* While no server can be reached, messages of the kinds in `frames.KEPT` wait
   in a bounded queue. What does not fit is dropped, counted (`bus_backlog_dropped`) and reported in
   `Status.dropped`. Messages of other kinds are repeated by their senders and need not be kept.
5. *Subscriptions in force.* Once the callback given to `when_subscribed` runs, no broadcast published
   anywhere afterwards on a topic subscribed to before that call is missed. This is what a join waits for.
6. *Own messages.* A node receives what it publishes itself if it is subscribed to it.
7. *The event loop.* All methods are called, and all handlers run, in the thread of one event loop. Only the
   coroutine `confirmed` waits. An exception in a handler costs that message only.
8. *Bad bytes cost their sender only.* What cannot be read is counted, logged and dropped.

**A complete example**, in which the nodes of one process share a list. The suite runs on it, too:

    import asyncio
    from collections import Counter

    from mesh import topics
    from mesh.bus.contract import DirectPaths, Status
    from mesh.bus.frames import BROADCAST, DIRECT, VERSION, Header, decode_direct, encode_direct
    from mesh.bus.subscriptions import Subscription, Subscriptions

    class ListBus:
        def __init__(self, node, nodes):
            self.node, self.sequence, self.unread, self.paths = node, 0, False, DirectPaths()
            self._nodes = nodes
            self._subscribed = Counter([topics.exact(topics.of_node(node))])
            self._loops = Subscriptions(self)
            self._handled = {}

        def start(self, handlers):
            self._handlers = handlers
            self._nodes.append(self)

        def close(self):
            if self in self._nodes:
                self._nodes.remove(self)
            self._loops.close()

        def publish(self, topic, event, codec, data, sender):
            number = self._send(BROADCAST, topic, event, codec, data, sender)
            if self._handlers.published is not None:
                self._handlers.published(topic, number)
            return number

        def publish_direct(self, node, topic, event, codec, data):
            return self.publish_kind(DIRECT, topics.of_node(node), event, codec, encode_direct(topic, data))

        def publish_kind(self, kind, topic, event="", codec=0, data=b""):
            return self._send(kind, topic, event, codec, data, None)

        def _send(self, kind, topic, event, codec, data, sender):
            self.sequence += 1
            header = Header(VERSION, kind, self.node, self.sequence, event, codec, sender)
            for each in self._nodes:  # in order, and an error costs that message only
                asyncio.get_running_loop().call_soon(each._arrived, topics.exact(topic), header, data)
            return self.sequence

        def _arrived(self, frame, header, data):
            self._handled[header.origin] = header.sequence
            if self not in self._nodes or not self._wants(frame):
                return
            topic = topics.of_frame(frame)
            if header.kind == DIRECT:
                topic, data = decode_direct(data)
            if header.kind in (BROADCAST, DIRECT):
                self._loops.deliver(topic, header, data)
                if self._handlers.broadcast is not None:
                    self._handlers.broadcast(topic, header, data)
            elif header.kind in self._handlers.messages:
                self._handlers.messages[header.kind](header, data)

        def _wants(self, frame):
            if frame.startswith(b"$"):
                return frame in self._subscribed
            return any(frame.startswith(each) for each in self._subscribed)

        def subscribe(self, subscription):
            self._subscribed[subscription] += 1

        def unsubscribe(self, subscription):
            self._subscribed -= Counter([subscription])

        def when_subscribed(self, callback):
            return asyncio.get_running_loop().call_soon(callback).cancel

        def subscription(self, pattern, max_queued):
            return Subscription(self._loops, pattern, max_queued)

        def delivered(self, origin, sequence):
            return self._handled.get(origin, 0) >= sequence

        async def confirmed(self, first, last):
            return  # the list has them

        def status(self):
            return Status(connected=True, waiting=0, dropped=0, addresses=())

**Bringing another one**, say NATS: a topic becomes a subject (a prefix such as `room:` must become one that
can be subscribed to), the three parts of a message become its body. Guarantee 5 is a flush that the server
has answered; `confirmed` is one, too. Guarantees 1 to 3 hold for as long as one connection does; after a
reconnect, what was not confirmed is sent again with its old number, hence duplicates are dropped.
mesh/bus/zeromq/resend_buffer.py and duplicates.py are pure and may be used as they are. A server that knows
by itself who listens needs no `Paths` of its own: `DirectPaths` does nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Header
from mesh.messages import Sender
from mesh.pubsub import Subscription

OnBroadcast = Callable[[str, Header, bytes], None]
OnMessage = Callable[[Header, bytes], None]
Withdraw = Callable[[], None]
"""Takes a callback back that has not been called yet; without effect afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What a node does with what its bus tells it. None: this node has no use for it.

    A handler may be called before `publish` has returned (in memory), or later (over a network).

    Attributes:
        broadcast: called with (topic, header, payload) of each broadcast that comes for a subscription.
        messages: by kind: called with (header, payload) of each message between nodes that comes for a
            subscription. Kinds without a handler, those of later versions among them, are ignored.
        published: called with (topic, sequence) of each broadcast that `publish` has numbered.
        unread: called with `Bus.unread` when that changes.
        paths_changed: called when what `Paths.describe` says has changed: announce it.
    """

    broadcast: OnBroadcast | None
    messages: Mapping[int, OnMessage]
    published: Callable[[str, int], None] | None
    unread: Callable[[bool], None] | None
    paths_changed: Callable[[], None] | None


class Status(NamedTuple):
    """How the bus is.

    Attributes:
        connected: whether messages go through at this moment.
        waiting: how many messages wait for a server.
        dropped: how many did not fit among those, since the start.
        addresses: where the bus looks for its servers; with what is wrong with a name in brackets.
    """

    connected: bool
    waiting: int
    dropped: int
    addresses: tuple[str, ...]


class Paths(Protocol):
    """How the bus reaches the other nodes, where there are several ways.

    A node that publishes through a proxy which another node does not hear would lose messages. So nodes say
    in their announcements which proxies they hear and use, and their buses follow what the others say.
    """

    def describe(self, announcement: Announcement) -> Announcement:
        """The announcement of this node, completed with what the others must know about its bus."""

    def node_announced(self, announcement: Announcement) -> None:
        """Another node has announced itself."""

    def node_gone(self, node: str) -> None:
        """A node has stopped, or is believed to be dead: no longer wait for what it hears."""

    def use_version(self, version: int) -> None:
        """Publish headers of this version from now on: the newest that all live nodes read."""

    def of_topic(self, topic: str) -> str:
        """The server through which a topic goes now; empty if there is none."""


class DirectPaths:
    """For a bus whose server knows who listens. Implements Paths."""

    def describe(self, announcement: Announcement) -> Announcement:
        """There is nothing to add."""
        return announcement

    def node_announced(self, announcement: Announcement) -> None:
        """Nothing depends on it."""

    def node_gone(self, node: str) -> None:
        """Nothing depends on it."""

    def use_version(self, version: int) -> None:
        """There is one version so far."""

    def of_topic(self, topic: str) -> str:
        """There is one way."""
        return ""


class Bus(Protocol):
    """One node's bus. The guarantees are those of this module.

    Attributes:
        node: the id of this node. Messages on `topics.of_node(node)` arrive without a subscription.
        sequence: the number of the last message this node published; 0 before the first.
        unread: whether more has arrived than could be handled yet.
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
        """Connect, and call `handlers` from now on; returns before a connection is there.

        Raises:
            MeshError: if an address or a key cannot be used; `close` is still to be called.
        """

    def close(self) -> None:
        """Disconnect. What was published has a moment to leave; loops over subscriptions end.

        A second call has no effect.
        """

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and queue it; returns its number.

        Args:
            topic: checked by the caller (mesh/topics.py).
            event: of the broadcast.
            codec: of the payload: JSON, BINARY or MSGPACK (mesh/messages.py).
            data: the payload, encoded.
            sender: the channel that made the broadcast, if one did.
        """

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, for one node; it need not be subscribed to the topic."""

    def publish_kind(
        self, kind: int, topic: str, event: str = "", codec: int = 0, data: bytes = b""
    ) -> int:
        """Number a message between nodes and queue it; returns its number."""

    def subscribe(self, subscription: bytes) -> None:
        """Receive messages whose topic, with its terminator, starts with these bytes.

        `topics.exact(topic)` and `topics.prefix(pattern)` make them; `b""` takes everything but topics that
        start with `$`. Counted: it takes as many `unsubscribe` to undo it. Never waits.
        """

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""

    def when_subscribed(self, callback: Callable[[], None]) -> Withdraw:
        """Call back once every subscription made so far is in force (guarantee 5).

        Callbacks run in the order in which they were given, in memory perhaps before this returns; while no
        server answers, none does. One that is withdrawn must not occupy memory any longer.
        """

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Broadcasts for a loop; `Subscriptions` (mesh/bus/subscriptions.py) has all of it."""

    def delivered(self, origin: str, sequence: int) -> bool:
        """Whether this broadcast has been handled, or will not arrive any more."""

    async def confirmed(self, first: int, last: int) -> None:
        """Return once servers have taken over every message of this node with these numbers.

        A program that ends then loses none of them. Waits for as long as it takes.
        """

    def status(self) -> Status:
        """How the bus is now."""
