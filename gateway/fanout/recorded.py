"""Decides which recorded broadcasts are delivered, and ends the channels that have missed one.

Only channels whose clients asked for positions are ended: these clients join again, and recover what they
have missed from their own positions.
"""

from collections.abc import Callable

from mesh.bus.frames import Received
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.fanout import Fanout
from mesh.gateway.fanout.topic_position import Order
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)


class RecordedBroadcasts:
    """The recorded broadcasts of all topics on a gateway.

    Args:
        fanout: has the members and the positions of topics.
        end: ends a channel with `phx_error`, in its worker as well.
    """

    def __init__(self, fanout: Fanout, end: Callable[[GatewayChannel], object]) -> None:
        self._fanout = fanout
        self._end = end
        fanout.on_missed = self.missed

    def admits(self, topic: str, header: Received) -> bool:
        """Return whether a recorded broadcast is to be delivered: it is not an old one, nor a claim."""
        position, recorded = self._fanout.position(topic), header.recorded
        if position is None or recorded is None:
            return bool(header.event)
        order = position.order(header, recorded)
        if order is Order.DOUBLE:
            return False
        if order is Order.STALE:
            counters.count("history_broadcasts_stale")
            return False
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
