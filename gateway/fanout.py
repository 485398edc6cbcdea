"""Topic → the local subscribers of it; one ready frame per serializer.

The hot path: a broadcast is encoded once for each encoding in use among a topic's members and the same
bytes are put into every member's outbox. Channels that need a second look at each broadcast stand apart:
joins still pending (it is held), channels just joined (is it older than the join?), channels that
intercept (does it reach them through handle_out?).
"""

from typing import Any, NamedTuple

from gateway.session import ChannelState
from gateway.transports.base import Encoding
from mesh.bus.frames import Header
from mesh.errors import EncodeError
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.fanout")


class Held(NamedTuple):
    """A broadcast that waits for a join to be answered."""

    origin: str
    sequence: int
    event: str
    frame: Any


class Members:
    """The channels of one topic on this gateway.

    Attributes:
        plain: by encoding: channel → its client's outbox.
        careful: joined channels that need a look at each broadcast.
        joining: channels whose join is pending → the broadcasts held for them.
    """

    __slots__ = ("careful", "joining", "plain")

    def __init__(self) -> None:
        self.plain: dict[Encoding, dict[ChannelState, Any]] = {}
        self.careful: dict[ChannelState, None] = {}
        self.joining: dict[ChannelState, list[Held]] = {}

    def __bool__(self) -> bool:
        return bool(self.plain or self.careful or self.joining)


class Fanout:
    """Delivers broadcasts to the clients of one gateway.

    Args:
        gateway: this gateway's id, to know the channels that a broadcast_from skips.
        max_held: broadcasts held for one pending join; over it the client is closed as too slow.
    """

    def __init__(self, gateway: str, max_held: int = 10_000) -> None:
        self._gateway = gateway
        self._max_held = max_held
        self._topics: dict[str, Members] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def hold(self, channel: ChannelState) -> bool:
        """Hold broadcasts for a channel that is joining; returns whether the topic is new here."""
        members = self._topics.get(channel.topic)
        if members is None:
            members = self._topics[channel.topic] = Members()
            members.joining[channel] = []
            return True
        members.joining.setdefault(channel, [])
        return False

    def activate(self, channel: ChannelState) -> None:
        """The channel is joined: deliver what was held, as far as it is younger than the join."""
        members = self._topics[channel.topic]
        for held in members.joining.pop(channel, ()):
            if _wants(channel, held.event, held.origin, held.sequence):
                channel.client.outbox.send(held.frame)
        members.careful[channel] = None

    def drop(self, channel: ChannelState) -> bool:
        """Forget a channel; returns whether its topic has nobody left here."""
        members = self._topics.get(channel.topic)
        if members is None:
            return False
        members.joining.pop(channel, None)
        members.careful.pop(channel, None)
        group = members.plain.get(channel.client.encoding)
        if group is not None and group.pop(channel, None) is not None and not group:
            del members.plain[channel.client.encoding]
        if members:
            return False
        del self._topics[channel.topic]
        return True

    def deliver(self, topic: str, header: Header, data: bytes) -> None:
        """Put a broadcast into the outboxes of the topic's members."""
        members = self._topics.get(topic)
        if members is None:
            return
        skip = header.skip
        skipped = skip.channel if skip is not None and skip.gateway == self._gateway else None
        for encoding, group in members.plain.items():
            frame = self._encode(encoding, topic, header, data)
            if frame is None:
                continue
            if skipped is None:
                for outbox in group.values():
                    outbox.send(frame)
            else:
                for channel, outbox in group.items():
                    if channel.number != skipped:
                        outbox.send(frame)
        if members.careful or members.joining:
            self._deliver_carefully(members, topic, header, data, skipped)

    def _deliver_carefully(
        self, members: Members, topic: str, header: Header, data: bytes, skipped: int | None
    ) -> None:
        frames: dict[Encoding, Any] = {}
        for channel in (*members.careful, *members.joining):
            encoding = channel.client.encoding
            if encoding not in frames:
                frames[encoding] = self._encode(encoding, topic, header, data)
            frame = frames[encoding]
            if frame is None or channel.number == skipped:
                continue
            held = members.joining.get(channel)
            if held is not None:
                self._keep(channel, held, Held(header.origin, header.sequence, header.event, frame))
                continue
            if _wants(channel, header.event, header.origin, header.sequence):
                channel.client.outbox.send(frame)
            if header.origin == channel.worker and header.sequence > channel.since:
                self._promote(members, channel)

    def _promote(self, members: Members, channel: ChannelState) -> None:
        """From now on every broadcast is younger than the join."""
        if channel.intercepts:
            return
        del members.careful[channel]
        client = channel.client
        members.plain.setdefault(client.encoding, {})[channel] = client.outbox

    def _keep(self, channel: ChannelState, held: list[Held], broadcast: Held) -> None:
        if len(held) >= self._max_held:
            held.clear()
            channel.client.transport.close_slow(self._max_held)
            return
        held.append(broadcast)

    def _encode(self, encoding: Encoding, topic: str, header: Header, data: bytes) -> Any:
        try:
            frame = encoding.serializer.encode_broadcast(topic, header.event, header.codec, data)
        except EncodeError as error:
            counters.count("broadcasts_unencodable")
            log.warning(
                "broadcast skipped for some clients",
                topic=topic,
                broadcast=header.event,
                serializer=encoding.serializer.name,
                reason=str(error),
            )
            return None
        return encoding.ready(frame)


def _wants(channel: ChannelState, event: str, origin: str, sequence: int) -> bool:
    if event in channel.intercepts:
        return False
    return origin != channel.worker or sequence > channel.since
