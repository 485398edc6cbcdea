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

Frames = dict[tuple[Encoding, TopicStats], Any]
"""Ready frames of one broadcast by encoding and counts; None for what cannot be encoded."""


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

    Each frame is made when it is first needed, and then the same for all.

    Args:
        header: the broadcast's header.
        data: its payload.
        plain: the frames without a position that have been made already.

    Attributes:
        header: the broadcast's header.
    """

    __slots__ = ("_data", "_plain", "_positioned", "header")

    def __init__(self, header: Received, data: bytes, plain: Frames) -> None:
        self.header = header
        self._data = data
        self._plain = plain
        self._positioned: dict[tuple[Encoding, TopicStats], tuple[Any, ...]] | None = None

    def plain(self, encoding: Encoding, counts: TopicStats) -> Any:
        """Return the ready frame for clients without positions; None if it cannot be encoded."""
        try:
            return self._plain[encoding, counts]
        except KeyError:
            frame = self._plain[encoding, counts] = encode(encoding, counts, self.header, self._data)
            return frame

    def positioned(self, encoding: Encoding, counts: TopicStats) -> tuple[Any, ...]:
        """Return the ready frames for clients with positions, in order; the last is the broadcast itself.

        A broadcast that is not recorded has no position: its frame is the same for all. If it cannot be
        encoded, there is only None.
        """
        if self._positioned is None:
            self._positioned = {}
        key = encoding, counts
        made = self._positioned.get(key)
        if made is None:
            made = self._positioned[key] = self._make(encoding, counts)
        return made

    def position(self, encoding: Encoding, counts: TopicStats) -> Any:
        """Return the ready frame that the sender of a broadcast_from receives in its place."""
        recorded = self.header.recorded
        assert recorded is not None
        frame = positions.encode_position(
            encoding.serializer, counts.topic, recorded.epoch, recorded.offset
        )
        return _uncounted(encoding, counts, self.header.event, frame)

    def _make(self, encoding: Encoding, counts: TopicStats) -> tuple[Any, ...]:
        header, recorded = self.header, self.header.recorded
        if recorded is None:
            return (self.plain(encoding, counts),)
        serializer, codec, epoch, offset = (
            encoding.serializer,
            header.codec,
            recorded.epoch,
            recorded.offset,
        )
        try:
            *before, frame = positions.encode_broadcast(
                serializer, counts.topic, header.event, codec, self._data, epoch, offset
            )
        except EncodeError as error:
            _complain(encoding, counts, header.event, error)
            return (None,)
        return (
            *(_uncounted(encoding, counts, header.event, each) for each in before),
            encoding.broadcast(encoding.ready(frame), counts, header.event),
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
