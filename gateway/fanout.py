"""Topic → the local subscribers of it; one ready frame per serializer.

The hot path: a broadcast is encoded once for each encoding in use among a topic's members and the same
bytes are put into every member's outbox. Channels that need a second look at each broadcast stand apart:
joins still pending (it is held), channels just joined (is it older than the join?), channels that
intercept (does it reach them through handle_out?).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.channel_state import ChannelState
from gateway.transports.base import Encoding
from mesh.bus.frames import Header
from mesh.errors import EncodeError
from mesh.link import commands
from mesh.telemetry import counters, get_logger, stats

log = get_logger("gateway.fanout")


class Held(NamedTuple):
    """A broadcast that waits: for a join to be answered, for `behind` commands to have come."""

    origin: str
    sequence: int
    event: str
    frame: Any
    behind: int


class Members:
    """The channels of one topic on this gateway.

    Attributes:
        plain: by encoding: channel → its client's outbox.
        careful: joined channels that need a look at each broadcast.
        held: channels for which broadcasts wait → those broadcasts: their join is pending, or something
            else must reach the client first.
    """

    __slots__ = ("careful", "held", "plain")

    def __init__(self) -> None:
        self.plain: dict[Encoding, dict[ChannelState, Any]] = {}
        self.careful: dict[ChannelState, None] = {}
        self.held: dict[ChannelState, list[Held]] = {}

    def __bool__(self) -> bool:
        return bool(self.plain or self.careful or self.held)


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

    def __len__(self) -> int:
        return len(self._topics)

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def __iter__(self) -> Iterator[str]:
        return iter(self._topics)

    def members(self, topic: str) -> int:
        """The channels that are joined to a topic."""
        members = self._topics.get(topic)
        if members is None:
            return 0
        held = sum(channel.joining is None for channel in members.held)
        return sum(map(len, members.plain.values())) + len(members.careful) + held

    def hold(self, channel: ChannelState) -> bool:
        """Hold broadcasts for a channel until `release`; returns whether the topic is new here."""
        members = self._topics.get(channel.topic)
        if members is None:
            members = self._topics[channel.topic] = Members()
            members.held[channel] = []
            return True
        if channel not in members.held:
            self._remove(members, channel)
            members.held[channel] = []
        return False

    def release(self, channel: ChannelState, received: int) -> bool:
        """Deliver what is held for a joined channel; `received` commands have come from its worker.

        Stops before the first broadcast that must follow a command still on its way; returns whether
        nothing is held any longer, and broadcasts go straight to the client from now on.
        """
        members = self._topics[channel.topic]
        waiting = members.held.get(channel)
        if waiting is None:
            return True
        for index, held in enumerate(waiting):
            if held.behind > received:
                del waiting[:index]
                return False
            if _wants(channel, held.event, held.origin, held.sequence):
                stats.deliveries += 1
                channel.client.outbox.send(held.frame)
        del members.held[channel]
        members.careful[channel] = None
        return True

    def forget_order(self, channel: ChannelState) -> None:
        """What is held for a channel waits for its join only: the commands before it never come."""
        held = self._topics[channel.topic].held
        held[channel] = [each._replace(behind=0) for each in held.get(channel, ())]

    def drop(self, channel: ChannelState) -> bool:
        """Forget a channel; returns whether its topic has nobody left here."""
        members = self._topics.get(channel.topic)
        if members is None:
            return False
        self._remove(members, channel)
        if members:
            return False
        del self._topics[channel.topic]
        return True

    def _remove(self, members: Members, channel: ChannelState) -> None:
        members.held.pop(channel, None)
        members.careful.pop(channel, None)
        group = members.plain.get(channel.client.encoding)
        if group is not None and group.pop(channel, None) is not None and not group:
            del members.plain[channel.client.encoding]

    def deliver(self, topic: str, header: Header, data: bytes) -> None:
        """Put a broadcast into the outboxes of the topic's members."""
        members = self._topics.get(topic)
        if members is None:
            return
        sender = header.sender
        ours = sender is not None and sender.skip and sender.gateway == self._gateway
        skipped = sender.channel if sender is not None and ours else None
        for encoding, group in members.plain.items():
            frame = self._encode(encoding, topic, header, data)
            if frame is None:
                continue
            stats.deliveries += len(group)
            if skipped is None:
                for outbox in group.values():
                    outbox.send(frame)
            else:
                for channel, outbox in group.items():
                    if channel.number != skipped:
                        outbox.send(frame)
        if members.careful or members.held:
            self._deliver_carefully(members, topic, header, data, skipped)

    def deliver_local(self, worker: str, broadcast: commands.Broadcast) -> None:
        """To those members of a topic that `worker` runs: it came over the link, like their pushes."""
        members = self._topics.get(broadcast.topic)
        if members is None:
            return
        for encoding, group in members.plain.items():
            frame = self._encode(encoding, broadcast.topic, broadcast, broadcast.data)
            if frame is not None:
                for channel, outbox in group.items():
                    if channel.worker == worker:
                        stats.deliveries += 1
                        outbox.send(frame)
        for channel in (*members.careful, *members.held):
            if channel.worker != worker or channel.joining is not None:
                continue
            if broadcast.event not in channel.intercepts:
                encoding = channel.client.encoding
                frame = self._encode(encoding, broadcast.topic, broadcast, broadcast.data)
                if frame is not None:
                    stats.deliveries += 1
                    channel.client.outbox.send(frame)

    def _deliver_carefully(
        self, members: Members, topic: str, header: Header, data: bytes, skipped: int | None
    ) -> None:
        frames: dict[Encoding, Any] = {}
        for channel in (*members.careful, *members.held):
            encoding = channel.client.encoding
            if encoding not in frames:
                frames[encoding] = self._encode(encoding, topic, header, data)
            frame = frames[encoding]
            if frame is None or channel.number == skipped:
                continue
            held = members.held.get(channel)
            if held is not None:
                self._keep(channel, held, header, frame)
                continue
            if _wants(channel, header.event, header.origin, header.sequence):
                stats.deliveries += 1
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

    def _keep(self, channel: ChannelState, held: list[Held], header: Header, frame: Any) -> None:
        if len(held) >= self._max_held:
            held.clear()
            channel.client.transport.close_slow(self._max_held)
            return
        sender = header.sender
        own = sender is not None and sender[:2] == (self._gateway, channel.number)
        behind = sender.behind if sender is not None and own else 0
        held.append(Held(header.origin, header.sequence, header.event, frame, behind))

    def _encode(
        self, encoding: Encoding, topic: str, header: Header | commands.Broadcast, data: bytes
    ) -> Any:
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
