"""One node's part of the bus: publisher, subscriber and barrier together. Implements BusAdapter."""

import asyncio
from collections.abc import Callable

import zmq

from mesh import topics
from mesh.bus.frames import DIRECT, Header, encode_direct
from mesh.bus.subscriptions import Subscription, Subscriptions
from mesh.bus.zeromq.barrier import Barrier, subscribed
from mesh.bus.zeromq.confirmations import Confirmations
from mesh.bus.zeromq.connect_failures import CANNOT_CONNECT, ConnectFailures
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.proxy_names import ProxyNames
from mesh.bus.zeromq.publisher import Publisher
from mesh.bus.zeromq.subscriber import Subscriber
from mesh.messages import Sender
from mesh.settings import BusSettings
from mesh.settings.rooms import MAX_PROXIES
from mesh.telemetry import get_logger
from mesh.zeromq import sockets

log = get_logger("mesh.bus")

MOVE_SECONDS = 3.0
"""After a proxy is given up, until what went through it has been sent again and has come."""


class Bus:
    """Connects a node to all proxies."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], node: str, settings: BusSettings) -> None:
        self._names = ProxyNames(
            settings.proxies, settings.resolve_seconds, self._is_settled, self._follow_names
        )
        self._failures = ConnectFailures()
        proxies = self._names.addresses
        self.publisher = Publisher(context, node, settings, proxies)
        self.subscriber = Subscriber(
            sockets.bus_subscriber(context, settings),
            proxies,
            settings.proxy_timeout_seconds + MOVE_SECONDS,
        )
        self.barrier = Barrier(self.publisher, self.subscriber, settings.probe_timeout_seconds)
        self.confirmations = Confirmations(self.publisher)
        self.subscriptions = Subscriptions(self.subscribe, self.unsubscribe, lambda: subscribed(self))
        self.subscriber.listeners += (self.subscriptions.deliver,)
        self._fresh: dict[int, str] = {}
        self._fresh_count = 0
        self.publisher.fresh_topic = self._fresh_topic
        self.subscriber.subscribe(topics.exact(topics.of_sync(node)))
        self.subscriber.on_probe = self._echo
        self.subscriber.on_deaf = self._deaf
        self.publisher.on_lost = self._lost

    def start(self) -> None:
        """Begin to send and receive.

        Raises:
            MeshError: if an address or a key cannot be used; `close` is still to be called.
        """
        self.publisher.start()
        self.subscriber.start()
        self._names.start()

    def close(self) -> None:
        """Stop; what was published before has a moment to leave."""
        self._names.close()
        self.subscriptions.close()
        self.barrier.close()
        self.subscriber.close()
        self.publisher.close()

    @property
    def proxies(self) -> list[str]:
        """Where this node looks for proxies, and what is wrong with their names."""
        names = self._names
        return names.addresses + [f"{name} ({why})" for name, why in names.problems.items()]

    @property
    def node(self) -> str:
        """The id of this node."""
        return self.publisher.origin

    @property
    def sequence(self) -> int:
        """The number of the last message this node published."""
        return self.publisher.sequence

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and queue it; returns its number."""
        return self.publisher.publish(topic, event, codec, data, sender)

    def publish_direct(self, node: str, topic: str, event: str, codec: int, data: bytes) -> int:
        """As `publish`, but only that node gets it."""
        frame = encode_direct(topic, data)
        return self.publisher.publish_kind(DIRECT, topics.of_node(node), event, codec, frame)

    def subscription(self, pattern: str, max_queued: int) -> Subscription:
        """Broadcasts on a topic, or on all topics that start so."""
        return Subscription(self.subscriptions, pattern, max_queued)

    def subscribe(self, subscription: bytes) -> None:
        """Receive what starts with these bytes."""
        self.subscriber.subscribe(subscription)

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""
        self.subscriber.unsubscribe(subscription)

    def when_subscribed(self, callback: Callable[[], None]) -> None:
        """Call back once all subscriptions made so far are in force at every proxy that is there."""
        self.barrier.when_complete(callback)

    @property
    def unread(self) -> bool:
        """Whether more has come than could be handled yet."""
        return self.subscriber.unread

    def delivered(self, origin: str, sequence: int) -> bool:
        """Whether this broadcast has come, or will not come any more."""
        return self.subscriber.delivered(origin, sequence)

    def _fresh_topic(self, connection: ProxyConnection) -> str:
        """Subscribed last, so that its echo says that a new connection has all subscriptions.

        One that was subscribed before is not proof: libzmq repeats them in an order of its own.
        """
        self._forget_fresh(connection)
        self._fresh_count += 1
        topic = self._fresh[connection.index] = (
            f"{topics.of_sync(self.node)}:{connection.index}:{self._fresh_count}"
        )
        self.subscriber.subscribe(topics.exact(topic))
        return topic

    def _forget_fresh(self, connection: ProxyConnection) -> None:
        topic = self._fresh.pop(connection.index, None)
        if topic is not None:
            self.subscriber.unsubscribe(topics.exact(topic))

    def _echo(self, topic: str, header: Header) -> None:
        if header.origin != self.node or not header.event.isdecimal():
            return
        index = int(header.event)
        connection = next((each for each in self.publisher.connections if each.index == index), None)
        if connection is None:
            return
        if not connection.heard and topic != self._fresh.get(index):
            return
        self.publisher.echoed(connection, header.sequence)
        if connection.heard:
            self._forget_fresh(connection)
            self.barrier.echo(topic, connection)

    def _deaf(self, proxy: str) -> None:
        for connection in self.publisher.connections:
            if connection.address == proxy:
                self.publisher.deaf(connection)

    # Names

    def _is_settled(self) -> bool:
        """Whether every proxy that has a name is heard."""
        connections = self.publisher.connections
        return bool(connections) and all(connection.heard for connection in connections)

    def _lost(self) -> None:
        """A proxy is gone: its name may stand for another by now."""
        self.barrier.check()
        self._names.hurry()
        asyncio.get_running_loop().call_soon(self._forget_vanished)

    def _follow_names(self) -> None:
        """Names were looked up: connect to the addresses that are new, up to MAX_PROXIES."""
        self._forget_vanished()
        known = {connection.address for connection in self.publisher.connections}
        self._failures.keep(self._names.addresses)
        for address in self._names.addresses:
            if address not in known and len(self.publisher.connections) < MAX_PROXIES:
                self._add(address)

    def _add(self, address: str) -> None:
        try:
            self.subscriber.add(address)
            self.publisher.add(address)
        except CANNOT_CONNECT as error:
            self.subscriber.remove(address)
            self._failures.add(address, error)
        else:
            self._failures.forget(address)

    def _forget_vanished(self) -> None:
        """An address that its name no longer has is used until its connection ends, and never again."""
        wanted = set(self._names.addresses)
        for connection in list(self.publisher.connections):
            if connection.address not in wanted and not connection.connected:
                self._forget_fresh(connection)
                self.subscriber.remove(connection.address)
                self.publisher.remove(connection)
                log.info("proxy forgotten: its name no longer has this address", proxy=connection.address)
