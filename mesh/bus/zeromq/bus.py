"""One node's bus over ZeroMQ: publisher, subscriber and barrier together."""

import asyncio
from collections.abc import Callable

import zmq

from mesh import telemetry
from mesh.app import topics
from mesh.bus.contract import Handlers, OnBroadcast, Status, Withdraw
from mesh.bus.frames import BROADCAST, DIRECT, RECORDED, Header, Recorded, encode_direct
from mesh.bus.subscriptions import Subscription, Subscriptions
from mesh.bus.zeromq.barrier import Barrier
from mesh.bus.zeromq.confirmations import Confirmations
from mesh.bus.zeromq.connect_failures import CANNOT_CONNECT, ConnectFailures
from mesh.bus.zeromq.paths import ProxyPaths
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.proxy_names import ProxyNames
from mesh.bus.zeromq.publisher import Publisher
from mesh.bus.zeromq.subscriber import Subscriber
from mesh.protocol.messages import Sender
from mesh.settings import BusSettings
from mesh.settings.bus import MAX_PROXIES
from mesh.telemetry import get_logger, stats
from mesh.zeromq import sockets

log = get_logger(__name__)

REROUTE_SECONDS = 3.0
"""How long it may take, after a proxy is given up, to send its messages again and receive them."""


class ZeroMQBus:
    """Connects a node to all proxies. Implements Bus (mesh/bus/contract.py).

    Args:
        context: the ZeroMQ context of the node.
        node: the id of the node.
        settings: the settings of the bus.
        subscribe_timeout_seconds: how long entering a `subscription` may take before it raises
            UnreachableError; None: it waits for a proxy.

    Attributes:
        publisher: the publishing half.
        subscriber: the receiving half.
        paths: the proxies that other nodes receive from.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        node: str,
        settings: BusSettings,
        subscribe_timeout_seconds: float | None = None,
    ) -> None:
        self._names = ProxyNames(
            settings.proxies, settings.resolve_seconds, self._all_connected, self._names_resolved
        )
        self._connect_failures = ConnectFailures()
        self._handlers: Handlers | None = None
        self._published: Callable[[str, int], None] | None = None
        proxies = self._names.addresses
        self.publisher = Publisher(context, node, settings, proxies, self)
        self.subscriber = Subscriber(
            sockets.bus_subscriber(context, settings),
            proxies,
            settings.proxy_timeout_seconds + REROUTE_SECONDS,
            self,
        )
        self.paths = ProxyPaths(self.publisher)
        self._barrier = Barrier(self.publisher, self.subscriber, settings.probe_timeout_seconds)
        self._confirmations = Confirmations(self.publisher)
        self._subscriptions = Subscriptions(self, subscribe_timeout_seconds)
        self._probe_topics: dict[int, str] = {}
        self._probe_topic_count = 0
        self.subscriber.subscribe(topics.exact(topics.of_sync(node)))
        self.subscriber.subscribe(topics.exact(topics.of_node(node)))

    def start(self, handlers: Handlers) -> None:
        """Begin to send and receive.

        Raises:
            MeshError: if an address or a key cannot be used; `close` must still be called.
        """
        self._handlers = handlers
        self._published = handlers.published
        self._subscriptions.use(handlers.keeps)
        on_broadcast: list[OnBroadcast] = [self._subscriptions.deliver]
        on_recorded: list[OnBroadcast] = [self._subscriptions.deliver]
        if handlers.broadcast is not None:
            on_broadcast.append(handlers.broadcast)
        if handlers.recorded is not None:
            on_recorded.append(handlers.recorded)
        if handlers.ignores_own:
            self.subscriber.ignore_own(self.node, self._subscriptions.prefixes)
        self.publisher.start()
        self.subscriber.start(on_broadcast, on_recorded, handlers.messages)
        self._names.start()

    def close(self) -> None:
        """Stop, after a moment to send what was published before."""
        if self.subscriber.closed:
            return
        self._names.close()
        self._subscriptions.close()
        self._barrier.close()
        self.subscriber.close()
        self.publisher.close()

    @property
    def node(self) -> str:
        """The id of this node."""
        return self.publisher.origin

    @property
    def sequence(self) -> int:
        """The number of the last message that this node published."""
        return self.publisher.sequence

    @property
    def unread(self) -> bool:
        """Whether messages have arrived that have not been handled yet."""
        return self.subscriber.unread

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast, queue it, and return its number."""
        sequence = self.publisher.publish(BROADCAST, topic, event, codec, data, sender)
        self._count(topic, event, data, sequence)
        return sequence

    def _count(self, topic: str, event: str, data: bytes, sequence: int) -> None:
        stats.broadcasts += 1
        if telemetry.attached("broadcast"):
            telemetry.emit("broadcast", {"bytes": len(data)}, {"topic": topic, "event": event})
        if self._published is not None:
            self._published(topic, sequence)

    def publish_recorded(
        self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None, recorded: Recorded
    ) -> int:
        """As `publish`, for a broadcast that this worker has recorded, or a claim."""
        sequence = self.publisher.publish(RECORDED, topic, event, codec, data, sender, recorded)
        if event and not recorded.origin:
            self._count(topic, event, data, sequence)
        return sequence

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, but to one node."""
        frame = encode_direct(topic, data)
        return self.publisher.publish(DIRECT, topics.of_node(node), event, codec, frame)

    def publish_kind(
        self, kind: int, topic: str, event: str = "", codec: int = 0, data: bytes = b""
    ) -> int:
        """Number a message between nodes, queue it, and return its number."""
        return self.publisher.publish(kind, topic, event, codec, data)

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Return the broadcasts on a topic, or on all topics with this prefix, for a loop."""
        return Subscription(self._subscriptions, pattern, max_queued)

    def subscribe(self, subscription: bytes) -> None:
        """Receive messages whose topic starts with these bytes."""
        self.subscriber.subscribe(subscription)

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""
        self.subscriber.unsubscribe(subscription)

    def when_subscribed(self, callback: Callable[[], None]) -> Withdraw:
        """Call back once all subscriptions made so far are in force at every available proxy."""
        return self._barrier.when_complete(callback)

    def delivered(self, origin: str, sequence: int) -> bool:
        """Return whether this broadcast has been handled, or will never arrive."""
        return self.subscriber.delivered(origin, sequence)

    async def confirmed(self, first: int, last: int) -> None:
        """Return once proxies have accepted all messages with these numbers."""
        await self._confirmations.wait(first, last)

    def status(self) -> Status:
        """Return the current state of the bus."""
        publisher, names = self.publisher, self._names
        problems = (f"{name} ({why})" for name, why in names.problems.items())
        return Status(
            publisher.connected, publisher.backlog, publisher.dropped, (*names.addresses, *problems)
        )

    # Called by publisher and subscriber

    def new_probe_topic(self, connection: ProxyConnection) -> str:
        """Subscribe to a new topic, whose echo proves that a new connection has all earlier subscriptions.

        A topic subscribed to before proves nothing: libzmq sends existing subscriptions in an arbitrary
        order.
        """
        self._unsubscribe_probe_topic(connection)
        self._probe_topic_count += 1
        topic = self._probe_topics[connection.index] = (
            f"{topics.of_sync(self.node)}:{connection.index}:{self._probe_topic_count}"
        )
        self.subscriber.subscribe(topics.exact(topic))
        return topic

    def _unsubscribe_probe_topic(self, connection: ProxyConnection) -> None:
        topic = self._probe_topics.pop(connection.index, None)
        if topic is not None:
            self.subscriber.unsubscribe(topics.exact(topic))

    def probe_arrived(self, topic: str, header: Header) -> None:
        """Handle a probe. One of our own proves that the proxy it came through works."""
        if header.origin != self.node or not header.event.isdecimal():
            return
        index = int(header.event)
        connection = next((each for each in self.publisher.connections if each.index == index), None)
        if connection is None:
            return
        if not connection.answering and topic != self._probe_topics.get(index):
            return
        self.publisher.echoed(connection, header.sequence)
        if connection.answering:
            self._unsubscribe_probe_topic(connection)
            self._barrier.echo(topic, connection)

    def interrupted(self, proxy: str) -> None:
        """The connection to a proxy has ended: nothing arrives from it."""
        for connection in self.publisher.connections:
            if connection.address == proxy:
                self.publisher.interrupted(connection)

    def probe_echoed(self) -> None:
        """A probe has come back: a proxy has accepted more messages."""
        self._confirmations.check()

    def paths_changed(self) -> None:
        """The proxies that this node receives from or publishes through have changed."""
        if self._handlers is not None and self._handlers.paths_changed is not None:
            self._handlers.paths_changed()

    def unread_changed(self, unread: bool) -> None:
        """Report whether messages have arrived that have not been handled yet."""
        if self._handlers is not None and self._handlers.unread is not None:
            self._handlers.unread(unread)

    # Names

    def _all_connected(self) -> bool:
        """Return whether every configured proxy is connected."""
        connections = self.publisher.connections
        return bool(connections) and all(connection.answering for connection in connections)

    def proxy_lost(self) -> None:
        """A proxy is gone: its name may refer to another address by now."""
        self._barrier.check()
        self._names.look_up_now()
        asyncio.get_running_loop().call_soon(self._remove_vanished)

    def _names_resolved(self) -> None:
        """Names were looked up: connect to new addresses, up to MAX_PROXIES."""
        self._remove_vanished()
        known = {connection.address for connection in self.publisher.connections}
        self._connect_failures.keep(self._names.addresses)
        for address in self._names.addresses:
            if address not in known and len(self.publisher.connections) < MAX_PROXIES:
                self._add(address)

    def _add(self, address: str) -> None:
        try:
            self.subscriber.add(address)
            self.publisher.add(address)
        except CANNOT_CONNECT as error:
            self.subscriber.remove(address)
            self._connect_failures.add(address, error)
        else:
            self._connect_failures.forget(address)

    def _remove_vanished(self) -> None:
        """Stop using addresses that their names no longer have, as soon as their connections end."""
        wanted = set(self._names.addresses)
        for connection in list(self.publisher.connections):
            if connection.address not in wanted and not connection.connected:
                self._unsubscribe_probe_topic(connection)
                self.subscriber.remove(connection.address)
                self.publisher.remove(connection)
                log.info("proxy forgotten: its name no longer has this address", proxy=connection.address)
