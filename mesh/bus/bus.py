"""One node's part of the bus: publisher, subscriber and barrier together. Implements BusAdapter."""

from collections.abc import Callable

import zmq

from mesh import topics
from mesh.addresses import publish_address, subscribe_address
from mesh.bus.barrier import Barrier, subscribed
from mesh.bus.frames import DIRECT, encode_direct
from mesh.bus.publisher import Publisher
from mesh.bus.subscriber import Subscriber
from mesh.bus.subscriptions import Subscription, Subscriptions
from mesh.bus.watch import ConnectionWatch
from mesh.messages import Sender
from mesh.settings import BusSettings
from mesh.zeromq import sockets
from mesh.zeromq.curve import keys_of


class Bus:
    """Connects a node to the proxy.

    Attributes:
        address: of the proxy, for messages.
        watch: of the publisher's connection to it.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], node: str, settings: BusSettings) -> None:
        (proxy,) = settings.proxies
        self.address = proxy
        publisher = sockets.bus_publisher(context, settings)
        subscriber = sockets.bus_subscriber(context, settings)
        self.watch = ConnectionWatch(publisher)
        try:
            keys = keys_of(publisher)
            key = keys.proxy() if keys is not None and proxy.startswith("tcp://") else None
            sockets.connect(publisher, publish_address(proxy), key)
            sockets.connect(subscriber, subscribe_address(proxy), key)
        except BaseException:  # open sockets would keep their context from ending
            self.watch.close()
            publisher.close()
            subscriber.close()
            raise
        self.publisher = Publisher(publisher, node, settings.backlog_messages)
        self.subscriber = Subscriber(subscriber)
        self.barrier = Barrier(self.publisher, self.subscriber, settings.probe_timeout_seconds)
        self.subscriptions = Subscriptions(self.subscribe, self.unsubscribe, lambda: subscribed(self))
        self.subscriber.listeners += (self.subscriptions.deliver,)

    def start(self) -> None:
        """Begin to send and receive."""
        self.watch.start()
        self.publisher.start()
        self.subscriber.start()

    def close(self) -> None:
        """Stop; what was published before has a moment to leave."""
        self.subscriptions.close()
        self.barrier.close()
        self.subscriber.close()
        self.watch.close()
        self.publisher.close()

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
        """Call back once all subscriptions made so far are in force at the proxy."""
        self.barrier.when_complete(callback)
