"""Which nodes receive from which proxy, according to their announcements.

A publisher uses the proxies from which every node receives.
"""

from collections.abc import Collection

from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.proxy_connection_phases import Phase


class Coverage:
    """The nodes that have announced themselves lately. Time is an argument, in seconds of any one clock.

    Args:
        connections: the publisher's, as they are now.
    """

    def __init__(self, connections: list[ProxyConnection]) -> None:
        self._connections = connections
        self._announced_at: dict[str, float] = {}
        self._proxies: dict[str, Collection[str]] = {}

    def hears(self, node: str, proxies: Collection[str], now: float) -> None:
        """A node has announced which proxies it hears."""
        self._announced_at[node], self._proxies[node] = now, proxies
        for connection in self._connections:
            if connection.address in proxies:
                connection.receivers.add(node)
            else:
                connection.receivers.discard(node)

    def welcome(self, connection: ProxyConnection) -> None:
        """A new connection: nodes may have announced before that they hear its proxy."""
        connection.receivers.update(
            node for node, proxies in self._proxies.items() if connection.address in proxies
        )

    def forget(self, node: str) -> bool:
        """A node is no more; returns whether it was known."""
        for connection in self._connections:
            connection.receivers.discard(node)
        self._proxies.pop(node, None)
        return self._announced_at.pop(node, None) is not None

    def usable(self, now: float, patience_seconds: float) -> list[ProxyConnection]:
        """The proxies that work and that every node hears; else those that have worked for a while."""
        working = [each for each in self._connections if each.phase is Phase.CONFIRMED]
        everybody = [each for each in working if self._announced_at.keys() <= each.receivers]
        return everybody or [each for each in working if now - each.answering_since > patience_seconds]

    def silent(self, now: float, seconds: float) -> list[str]:
        """Nodes that have not announced themselves for longer than `seconds`.

        None, while this node itself receives nothing or has only just begun to.
        """
        if not any(each.answering and now - each.answering_since > seconds for each in self._connections):
            return []
        return [node for node, heard_at in self._announced_at.items() if now - heard_at > seconds]
