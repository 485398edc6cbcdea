"""One node's part of the bus: publisher, subscriber and barrier together. Implements BusAdapter."""

from collections.abc import Callable

import zmq

from mesh.addresses import publish_address, subscribe_address
from mesh.bus.barrier import Barrier
from mesh.bus.publisher import Publisher
from mesh.bus.subscriber import Subscriber
from mesh.messages import Sender
from mesh.settings import BusSettings
from mesh.zeromq import sockets


class Bus:
    """Connects a node to the proxy."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], node: str, settings: BusSettings) -> None:
        (proxy,) = settings.proxies
        publisher = sockets.bus_publisher(context, settings)
        subscriber = sockets.bus_subscriber(context, settings)
        sockets.connect(publisher, publish_address(proxy))
        sockets.connect(subscriber, subscribe_address(proxy))
        self.publisher = Publisher(publisher, node, settings.backlog_messages)
        self.subscriber = Subscriber(subscriber)
        self.barrier = Barrier(self.publisher, self.subscriber, settings.probe_timeout_seconds)

    def start(self) -> None:
        """Begin to send and receive."""
        self.publisher.start()
        self.subscriber.start()

    def close(self) -> None:
        """Stop; what was published before has a moment to leave."""
        self.barrier.close()
        self.subscriber.close()
        self.publisher.close()

    @property
    def sequence(self) -> int:
        """The number of the last message this node published."""
        return self.publisher.sequence

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and queue it; returns its number."""
        return self.publisher.publish(topic, event, codec, data, sender)

    def subscribe(self, subscription: bytes) -> None:
        """Receive what starts with these bytes."""
        self.subscriber.subscribe(subscription)

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""
        self.subscriber.unsubscribe(subscription)

    def when_subscribed(self, callback: Callable[[], None]) -> None:
        """Call back once all subscriptions made so far are in force at the proxy."""
        self.barrier.when_complete(callback)
