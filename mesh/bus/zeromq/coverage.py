"""Which nodes receive from which proxy, according to their announcements.

A publisher uses the proxies that every node receives from (publisher.py, rule 2).
"""

from collections.abc import Collection

from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.proxy_connection_phases import Phase


class Coverage:
    """The nodes with recent announcements. Time is an argument, in seconds of any one clock.

    Args:
        connections: the publisher's current connections.
    """

    def __init__(self, connections: list[ProxyConnection]) -> None:
        self._connections = connections
        self._announced_at: dict[str, float] = {}
        self._proxies: dict[str, Collection[str]] = {}

    def node_announced(self, node: str, proxies: Collection[str], now: float) -> None:
        """Record the proxies that a node has announced to receive from."""
        self._announced_at[node], self._proxies[node] = now, proxies
        for connection in self._connections:
            if connection.address in proxies:
                connection.receivers.add(node)
            else:
                connection.receivers.discard(node)

    def add_connection(self, connection: ProxyConnection) -> None:
        """Add a connection: nodes may already have announced that they receive from its proxy."""
        connection.receivers.update(
            node for node, proxies in self._proxies.items() if connection.address in proxies
        )

    def forget(self, node: str) -> bool:
        """Remove a node; return whether it was known."""
        for connection in self._connections:
            connection.receivers.discard(node)
        self._proxies.pop(node, None)
        return self._announced_at.pop(node, None) is not None

    def usable(self, now: float, wait_seconds: float) -> list[ProxyConnection]:
        """Return the confirmed proxies that every node receives from.

        If there are none, return those that have been confirmed for longer than `wait_seconds`.
        """
        confirmed = [each for each in self._connections if each.phase is Phase.CONFIRMED]
        complete = [each for each in confirmed if self._announced_at.keys() <= each.receivers]
        return complete or [each for each in confirmed if now - each.answering_since > wait_seconds]

    def silent(self, now: float, seconds: float) -> list[str]:
        """Return the nodes that have not announced themselves for longer than `seconds`.

        Empty while this node itself receives nothing, or has only just begun to.
        """
        if not any(each.answering and now - each.answering_since > seconds for each in self._connections):
            return []
        return [node for node, announced_at in self._announced_at.items() if now - announced_at > seconds]
