"""Decides which recorded broadcasts are delivered, and ends the channels that have missed one.

Only channels whose clients asked for positions are ended: these clients join again, and recover what they
have missed from their own positions.
"""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Received
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.fanout import Fanout
from mesh.gateway.fanout.topic_position import Order
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger(__name__)
_stale = Complaints(log, "recorded broadcast dropped")

MAX_RECORDERS = 10_000
"""The most recorders that are remembered; ids are new with every start of a worker."""


class Recorders:
    """The workers that have announced that they record topics. They may be gone."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, node: str) -> bool:
        return node in self._nodes

    def announced(self, announcement: Announcement) -> None:
        """Take note of the announcement of a live node."""
        if announcement.kind != "worker" or not announcement.history:
            return
        self._nodes[announcement.node] = None
        self._nodes.move_to_end(announcement.node)
        if len(self._nodes) > MAX_RECORDERS:
            self._nodes.popitem(last=False)


class RecordedBroadcasts:
    """The recorded broadcasts of all topics on a gateway.

    Args:
        fanout: has the members and the positions of topics.
        recorders: the nodes that have announced themselves as recorders.
        end: ends a channel with `phx_error`, in its worker as well.
    """

    def __init__(
        self, fanout: Fanout, recorders: "Recorders", end: Callable[[GatewayChannel], object]
    ) -> None:
        self._fanout = fanout
        self._recorders = recorders
        self._end = end
        fanout.on_missed = self.missed

    def admits(self, topic: str, header: Received) -> bool:
        """Return whether a recorded broadcast is to be delivered: it is not an old one, nor a claim."""
        position, recorded = self._fanout.position(topic), header.recorded
        if position is None or recorded is None:
            return bool(header.event)
        announced = header.origin in self._recorders
        order = position.order(header, recorded, announced)
        if order is Order.DOUBLE:
            return False
        if order is Order.STALE:
            reason = "another worker records the topic" if announced else "not announced as a recorder"
            _stale.about(header.origin, "history_broadcasts_stale", reason, topic=topic)
            if not position.gives_way(announced, monotonic()):
                return False
            position.order(header, recorded, announced)
            order = Order.MISSED
        if order is Order.MISSED:
            self._count(topic)
            for channel in self._fanout.positioned(topic):
                self._end(channel)
        return bool(header.event)

    def missed(self, channel: GatewayChannel) -> None:
        """End a channel that has missed a broadcast which the topic's position does not show."""
        self._count(channel.topic)
        self._end(channel)

    def _count(self, topic: str) -> None:
        counters.count("history_gaps")
        position = self._fanout.position(topic)
        if position is None or not position.complained:
            log.warning(
                "a recorded broadcast was missed: clients that asked for positions rejoin", topic=topic
            )
        if position is not None:
            position.complained = True
