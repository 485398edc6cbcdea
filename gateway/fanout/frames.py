"""Encodes a broadcast for the clients of one encoding, with or without its position in the history."""

from typing import Any

from mesh.bus.frames import Header, Received
from mesh.errors import EncodeError
from mesh.gateway.fanout.delivery_stats import DeliveryStats, TopicStats
from mesh.gateway.transports.base import Encoding
from mesh.link import commands
from mesh.protocol import positions
from mesh.protocol.serializers.base import Frame
from mesh.telemetry import Complaints, get_logger

_unencodable = Complaints(get_logger(__name__), "broadcast skipped for some clients")


def encode(
    encoding: Encoding, counts: TopicStats, broadcast: Header | commands.Broadcast, data: bytes
) -> Any:
    """Return the ready frame of a broadcast; None if the serializer cannot express it, which is counted."""
    event = broadcast.event
    try:
        frame = encoding.serializer.encode_broadcast(counts.topic, event, broadcast.codec, data)
    except EncodeError as error:
        _complain(encoding, counts, event, error)
        return None
    return encoding.broadcast(encoding.ready(frame), counts, event)


class BroadcastFrames:
    """One broadcast, and its frames for those members that do not receive it from the fast path.

    Each frame is made when it is first needed, and then the same for all. A broadcast without a position
    has the same frame for clients with and without positions.

    Attributes:
        header: the broadcast's header.
    """

    __slots__ = ("_data", "_made", "header")

    def __init__(self, header: Received, data: bytes) -> None:
        self.header = header
        self._data = data
        self._made: dict[tuple[Encoding, TopicStats, bool], tuple[Any, ...]] = {}

    def ready(self, encoding: Encoding, counts: TopicStats, positioned: bool) -> tuple[Any, ...]:
        """Return the ready frames, to be sent in this order; none if they cannot be encoded.

        Args:
            encoding: the client's encoding.
            counts: counts the outcome.
            positioned: whether the client has asked for positions.
        """
        key = encoding, counts, positioned and self.header.recorded is not None
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(*key)
        return made

    def position(self, encoding: Encoding, counts: TopicStats) -> Any:
        """Return the ready frame that the sender of a broadcast_from receives in its place."""
        recorded = self.header.recorded
        assert recorded is not None
        frame = positions.encode_position(
            encoding.serializer, counts.topic, recorded.epoch, recorded.offset
        )
        return _uncounted(encoding, counts, self.header.event, frame)

    def _make(self, encoding: Encoding, counts: TopicStats, positioned: bool) -> tuple[Any, ...]:
        header, recorded = self.header, self.header.recorded
        if not positioned or recorded is None:
            frame = encode(encoding, counts, header, self._data)
            return () if frame is None else (frame,)
        serializer, event, epoch, offset = (
            encoding.serializer,
            header.event,
            recorded.epoch,
            recorded.offset,
        )
        try:
            *before, frame = positions.encode_broadcast(
                serializer, counts.topic, event, header.codec, self._data, epoch, offset
            )
        except EncodeError as error:
            _complain(encoding, counts, event, error)
            return ()
        return (
            *(_uncounted(encoding, counts, event, each) for each in before),
            encoding.broadcast(encoding.ready(frame), counts, event),
        )


def _uncounted(encoding: Encoding, counts: TopicStats, event: str, frame: Frame) -> Any:
    """Return a ready frame that only accompanies a broadcast.

    For a slow client, the policy of the Channel class applies to it as to the broadcast, but separately.
    """
    topic = f"{positions.HISTORY_POSITION} {counts.topic}"
    own = TopicStats(topic, counts.policy, counts.max_behind, DeliveryStats())
    return encoding.broadcast(encoding.ready(frame), own, event)


def _complain(encoding: Encoding, counts: TopicStats, event: str, error: EncodeError) -> None:
    _unencodable.about(
        encoding.serializer.name,
        "broadcasts_unencodable",
        str(error),
        topic=counts.topic,
        broadcast=event,
    )
