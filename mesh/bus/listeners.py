"""Who hears which proxy: what nodes announce, for a publisher that uses the proxies everybody hears."""

from collections.abc import Collection

from mesh.bus.lane import Lane


class Listeners:
    """The nodes heard of lately. Time is an argument, in seconds of any one clock.

    Args:
        lanes: the publisher's, as they are now.
    """

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self._heard_at: dict[str, float] = {}
        self._proxies: dict[str, Collection[str]] = {}

    def hears(self, node: str, proxies: Collection[str], now: float) -> None:
        """A node has announced which proxies it hears."""
        self._heard_at[node], self._proxies[node] = now, proxies
        for lane in self._lanes:
            if lane.address in proxies:
                lane.listeners.add(node)
            else:
                lane.listeners.discard(node)

    def welcome(self, lane: Lane) -> None:
        """A new lane: nodes may have announced before that they hear its proxy."""
        lane.listeners.update(node for node, proxies in self._proxies.items() if lane.address in proxies)

    def forget(self, node: str) -> bool:
        """A node is no more; returns whether it was known."""
        for lane in self._lanes:
            lane.listeners.discard(node)
        self._proxies.pop(node, None)
        return self._heard_at.pop(node, None) is not None

    def all_hear(self, lane: Lane) -> bool:
        """Whether every node hears this proxy."""
        return self._heard_at.keys() <= lane.listeners

    def silent(self, now: float, seconds: float) -> list[str]:
        """Nodes that have not announced themselves for so long.

        Who hears nothing, or has begun to hear just now, cannot say that of anybody.
        """
        if not any(lane.heard and now - lane.heard_since > seconds for lane in self._lanes):
            return []
        return [node for node, heard_at in self._heard_at.items() if now - heard_at > seconds]
