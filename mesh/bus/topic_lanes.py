"""Which of the proxies in use a topic goes through: rendezvous hashing over their addresses."""

from collections.abc import Sequence

from mesh.bus.lane import Lane
from mesh.placement import choose

REMEMBERED_TOPICS = 10_000


class TopicLanes:
    """Remembers it for the topics published on lately."""

    __slots__ = ("_by_topic", "_lanes")

    def __init__(self) -> None:
        self._lanes: Sequence[Lane] = ()
        self._by_topic: dict[str, Lane] = {}

    def use(self, lanes: Sequence[Lane]) -> None:
        """From now on, these."""
        self._lanes = lanes
        self._by_topic.clear()

    def lane(self, topic: str) -> Lane | None:
        """The one for this topic; None if there is none."""
        lanes = self._lanes
        if len(lanes) < 2:
            return lanes[0] if lanes else None
        lane = self._by_topic.get(topic)
        if lane is None:
            by_address = {each.address: each for each in lanes}
            lane = by_address[choose(topic, by_address) or ""]
            if len(self._by_topic) >= REMEMBERED_TOPICS:
                self._by_topic.clear()
            self._by_topic[topic] = lane
        return lane
