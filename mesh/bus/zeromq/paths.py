"""Chooses the proxies that a node publishes through by the announcements of others. Implements Paths."""

import msgspec

from mesh.bus.discovery.placement import Announcement
from mesh.bus.zeromq.publisher import Publisher


class ProxyPaths:
    """The proxies of one node, according to announcements."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def describe(self, announcement: Announcement) -> Announcement:
        """Add the proxies that this node receives from and publishes through."""
        proxies, uses = self._publisher.proxies, self._publisher.uses
        return msgspec.structs.replace(announcement, proxies=proxies, uses=uses)

    def node_announced(self, announcement: Announcement) -> None:
        """Record the proxies that another node receives from."""
        if announcement.proxies is not None:
            self._publisher.node_announced(announcement.node, announcement.proxies)

    def node_gone(self, node: str) -> None:
        """Ignore a node's proxies from now on."""
        self._publisher.node_gone(node)

    def use_version(self, version: int) -> None:
        """Publish headers of this version."""
        self._publisher.version = version

    def server_of(self, topic: str) -> str:
        """Return the proxy through which a topic is sent now; empty if no proxy is available."""
        return self._publisher.proxy_of(topic)
