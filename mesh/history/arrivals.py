"""The kept broadcasts that arrive from the bus, on their way to a recorder.

What the recorders in memory and in Redis have in common: which broadcasts they take, and for how long these
may wait to be recorded.
"""

import asyncio
from collections.abc import Callable

from mesh.app.history import KeptRoute, KeptTopics
from mesh.bus.frames import BROADCAST, Received
from mesh.history.originals import Original, Originals
from mesh.protocol.payloads import message_flaw
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "broadcast dropped")

EXPIRE_SECONDS = 30.0
"""A broadcast that nobody has recorded for this long is dropped."""


class Arrivals:
    """Passes on the kept broadcasts of other nodes.

    Args:
        node: the id of this worker, whose own broadcasts reach its recorder when they are published.
        kept: the topics that have a history.
        take: called with (topic, route, broadcast) of each kept broadcast that is not malformed.
    """

    def __init__(
        self, node: str, kept: KeptTopics, take: Callable[[str, KeptRoute, Original], None]
    ) -> None:
        self._node = node
        self._kept = kept
        self._take = take

    def on_broadcast(self, topic: str, header: Received, data: bytes) -> bool:
        """Handle a broadcast from the bus; return whether it is kept."""
        if header.kind != BROADCAST:
            return False
        route = self._kept.find(topic)
        if route is None or not route.keeps(header.event):
            return False
        if header.origin == self._node:
            return True
        event, codec, origin, sequence = header.event, header.codec, header.origin, header.sequence
        flaw = message_flaw(event, codec, data)
        if flaw is not None:
            _malformed.about(origin, "bus_messages_malformed", flaw, topic=topic, broadcast=event)
            return True
        now = asyncio.get_running_loop().time()
        self._take(topic, route, Original(event, codec, data, origin, sequence, header.sender, now))
        return True


def expire(originals: Originals, now: float) -> None:
    """Drop the broadcasts that nobody has recorded for EXPIRE_SECONDS; count and log them."""
    dropped = originals.expire(now - EXPIRE_SECONDS)
    if dropped:
        counters.count("history_originals_dropped", dropped)
        log.error("kept broadcasts were recorded by no worker", broadcasts=dropped)
