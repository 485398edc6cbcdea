"""The proxy in use that each topic is sent through: rendezvous hashing over their addresses."""

from collections.abc import Sequence

from mesh.bus.discovery.placement import choose
from mesh.bus.zeromq.proxy_connection import ProxyConnection

REMEMBERED_TOPICS = 10_000


class TopicProxies:
    """The choice for each topic; cached for topics that were published on recently."""

    __slots__ = ("_by_topic", "_connections")

    def __init__(self) -> None:
        self._connections: Sequence[ProxyConnection] = ()
        self._by_topic: dict[str, ProxyConnection] = {}

    def use(self, connections: Sequence[ProxyConnection]) -> None:
        """Choose among these connections from now on."""
        self._connections = connections
        self._by_topic.clear()

    def connection(self, topic: str) -> ProxyConnection | None:
        """Return the connection for this topic; None if there is none."""
        connections = self._connections
        if len(connections) < 2:
            return connections[0] if connections else None
        connection = self._by_topic.get(topic)
        if connection is None:
            by_address = {each.address: each for each in connections}
            connection = by_address[choose(topic, by_address) or ""]
            if len(self._by_topic) >= REMEMBERED_TOPICS:
                self._by_topic.clear()
            self._by_topic[topic] = connection
        return connection
