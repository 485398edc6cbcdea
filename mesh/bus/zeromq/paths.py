"""Which proxies a node publishes through follows from what the other nodes announce. Implements Paths."""

import msgspec

from mesh.bus.discovery.placement import Announcement
from mesh.bus.zeromq.publisher import Publisher


class ProxyPaths:
    """The proxies of one node, as announcements tell of them."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def describe(self, announcement: Announcement) -> Announcement:
        """Add which proxies this node hears, and which it uses."""
        proxies, uses = self._publisher.proxies, self._publisher.uses
        return msgspec.structs.replace(announcement, proxies=proxies, uses=uses)

    def node_announced(self, announcement: Announcement) -> None:
        """Another node says which proxies it hears."""
        if announcement.proxies is not None:
            self._publisher.hears(announcement.node, announcement.proxies)

    def node_gone(self, node: str) -> None:
        """What it heard matters no longer."""
        self._publisher.node_gone(node)

    def use_version(self, version: int) -> None:
        """Publish headers of this version."""
        self._publisher.version = version

    def of_topic(self, topic: str) -> str:
        """The proxy through which a topic goes now; empty if none is there."""
        return self._publisher.proxy_of(topic)
