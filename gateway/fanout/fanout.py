"""Delivers each broadcast to the members of its topic on this gateway, encoded once for each serializer.

This is the hot path. A broadcast is encoded once for each encoding in use among a topic's members (and for
each route, if they joined by several), and the same bytes are put into every member's outbox. Channels for
which each broadcast must be examined are kept apart (topic_members.py, compared.py).

A payload is checked once before it is delivered (mesh/protocol/payloads.py, `flaw`), because any program on
the bus can publish: JSON is parsed without creating Python objects, msgpack is decoded and discarded. The
clients receive the publisher's own bytes.
"""

from collections.abc import Callable, Iterator
from typing import Any

from mesh.bus.frames import Header, Received, original
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.compared import send_compared, send_position
from mesh.gateway.fanout.delivery_stats import (
    CHANNEL_ENDED,
    HELD_OVERFLOW,
    INTERCEPTED,
    JOIN_FAILED,
    MALFORMED,
    SENDER,
    UNENCODABLE,
    DeliveryStats,
    TopicStats,
)
from mesh.gateway.fanout.frames import BroadcastFrames, Frames, encode
from mesh.gateway.fanout.fresh_position import send_fresh_position
from mesh.gateway.fanout.topic_members import TopicMembers
from mesh.gateway.fanout.topic_position import TopicPosition
from mesh.gateway.ordering.held_broadcasts import HeldBroadcast, HeldBroadcasts
from mesh.gateway.ordering.numbers import Relation, commands_before
from mesh.gateway.transports.base import Encoding
from mesh.link import commands
from mesh.protocol.payloads import message_flaw
from mesh.telemetry import Complaints, get_logger, stats

_malformed = Complaints(get_logger(__name__), "broadcast dropped")

AFTER, MISSED = Relation.AFTER, Relation.MISSED
Traced = dict[TopicStats, TopicStats] | None
"""During a trace, the counts to use in place of a topic's."""


class Fanout:
    """Delivers broadcasts to the clients of one gateway.

    Args:
        gateway: this gateway's id, which identifies the channels that a broadcast_from skips.
        max_held_bytes: the limit of the payloads held for one channel, in bytes.
        max_held: the limit of their number. Above either limit, the client is closed as too slow.

    Attributes:
        routes: for each pattern, the outcomes since the start of broadcasts to topics joined by it.
        on_missed: ends a channel that has missed a recorded broadcast, so that its client recovers it.
        tracing: given the counts of a topic and a broadcast, returns the counts to use for it; None unless
            a trace is in progress.
    """

    def __init__(self, gateway: str, max_held_bytes: int = 16_000_000, max_held: int = 10_000) -> None:
        self._gateway = gateway
        self._max_held = max_held
        self._max_held_bytes = max_held_bytes
        self._topics: dict[str, TopicMembers] = {}
        self.routes: dict[str, DeliveryStats] = {}
        self.on_missed: Callable[[GatewayChannel], object] = lambda _: None
        self.tracing: Callable[[TopicStats, Header, int], TopicStats] | None = None

    def __len__(self) -> int:
        return len(self._topics)

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def __iter__(self) -> Iterator[str]:
        return iter(self._topics)

    def members(self, topic: str) -> int:
        """Return the number of channels joined to a topic."""
        members = self._topics.get(topic)
        return members.joined if members is not None else 0

    def channels(self, topic: str) -> list[GatewayChannel]:
        """Return the channels of a topic, including those whose join is pending."""
        members = self._topics.get(topic)
        return members.channels() if members is not None else []

    def positioned(self, topic: str) -> list[GatewayChannel]:
        """Return the channels of a topic whose clients asked for positions."""
        return [channel for channel in self.channels(topic) if channel.recovery is not None]

    def position(self, topic: str) -> TopicPosition | None:
        """Return the position in the history of a topic; None if it has no members here."""
        members = self._topics.get(topic)
        if members is not None and members.position is None:
            members.position = TopicPosition()
        return members.position if members is not None else None

    def stats(self, topic: str) -> list[TopicStats]:
        """Return the outcomes of broadcasts to a topic, counted since it has members here."""
        members = self._topics.get(topic)
        return list(members.stats.values()) if members is not None else []

    def hold(self, channel: GatewayChannel) -> bool:
        """Hold broadcasts for a channel until `release`; return whether the topic is new here."""
        members = self._topics.get(channel.topic)
        new = members is None
        if members is None:
            members = self._topics[channel.topic] = TopicMembers()
        if channel not in members.held:
            if not members.remove(channel):
                members.count_in(channel, self.routes)
            members.held[channel] = HeldBroadcasts()
        return new

    def release(self, channel: GatewayChannel, received: int) -> bool:
        """Deliver the broadcasts held for a joined channel, whose worker has sent `received` commands.

        Stops before the first broadcast that must follow a command that has not arrived. Returns whether
        none is left, in which case broadcasts go directly to the client from now on. Releases nothing while
        the client does not have all that it missed of the topic's history.
        """
        members = self._topics[channel.topic]
        held = members.held.get(channel)
        if held is None:
            return True
        if channel.recovery is not None and not channel.recovery.complete:
            return False
        send_fresh_position(channel, held)
        missed = False
        for each in held.due(received):
            if missed:
                each.counts.drop(CHANNEL_ENDED)
            else:
                relation = send_compared(channel, each.counts, each.frames, each.skipped)
                missed = relation is MISSED
        if missed:
            self.on_missed(channel)
            return True
        if held:
            return False
        if members.held.pop(channel, None) is not None:  # otherwise a sent frame has ended the client
            members.filtered[channel] = None
        return True

    def forget_commands(self, channel: GatewayChannel) -> None:
        """Hold broadcasts for a channel only until its join is answered: earlier commands are lost."""
        self.hold(channel)
        self._topics[channel.topic].held[channel].forget_commands()

    def drop(self, channel: GatewayChannel, reason: str | None = None) -> bool:
        """Forget a channel that has ended; return whether its topic has no member left here.

        Args:
            channel: the channel.
            reason: why what is held for it is dropped; by default, because its join failed or it ended.
        """
        members = self._topics.get(channel.topic)
        if members is None:
            return False
        held = members.held.get(channel)
        if held is not None:
            held.drop(reason or (CHANNEL_ENDED if channel.pending is None else JOIN_FAILED))
        if members.remove(channel):
            members.count_out(channel)
        if members:
            return False
        del self._topics[channel.topic]
        return True

    def deliver(self, topic: str, header: Received, data: bytes) -> None:
        """Put a broadcast into the outboxes of the topic's members."""
        members = self._topics.get(topic)
        if members is None:
            stats.broadcasts_unneeded += 1
            return
        traced = self._arrive(members, header, len(data))
        flaw = message_flaw(header.event, header.codec, data)
        if flaw is not None:
            self._drop_malformed(topic, members, header, flaw, traced)
            return
        sender = header.sender
        ours = sender is not None and sender.skip and sender.gateway == self._gateway
        skipped = sender.channel if sender is not None and ours else None
        frames: Frames = {}
        for (encoding, counts), group in members.fast.items():
            if traced is not None:
                counts = traced[counts]
            frame = frames[encoding, counts] = encode(encoding, counts, header, data)
            if frame is None:
                counts.drop(UNENCODABLE, len(group))
                continue
            stats.deliveries += len(group)
            counts.queue(len(group))
            if skipped is None:
                for outbox in group.values():
                    outbox.send(frame)
            else:
                for channel, outbox in group.items():
                    if channel.number != skipped:
                        outbox.send(frame)
                    else:
                        stats.deliveries -= 1
                        counts.queue(-1)
                        counts.filter(SENDER)
        if members.filtered or members.held or members.positioned:
            self._deliver_others(members, BroadcastFrames(header, data, frames), len(data), skipped, traced)

    def _drop_malformed(
        self, topic: str, members: TopicMembers, header: Received, flaw: str, traced: Traced
    ) -> None:
        for counts in members.stats.values():
            (counts if traced is None else traced[counts]).drop(MALFORMED, counts.members)
        origin, event = original(header).origin, header.event
        _malformed.about(origin, "bus_messages_malformed", flaw, topic=topic, broadcast=event)

    def _arrive(self, members: TopicMembers, header: Received, size: int) -> Traced:
        """Count the current members; during a trace, return the counts to use instead."""
        if self.tracing is None:
            for counts in members.stats.values():
                counts.arrive(counts.members)
            return None
        header = original(header)
        traced = {counts: self.tracing(counts, header, size) for counts in members.stats.values()}
        for counts, each in traced.items():
            each.arrive(counts.members)
        return traced

    def deliver_local(self, worker: str, broadcast: commands.Broadcast) -> None:
        """Deliver a broadcast from a link to those members of the topic whose channels `worker` runs."""
        members = self._topics.get(broadcast.topic)
        if members is None:
            return
        flaw = message_flaw(broadcast.event, broadcast.codec, broadcast.data)
        if flaw is not None:
            fields = {"topic": broadcast.topic, "broadcast": broadcast.event}
            _malformed.about(worker, "worker_payloads_malformed", flaw, **fields)
            return
        frames: Frames = {}
        for groups in (members.fast, members.positioned):
            for key, group in groups.items():
                if key not in frames:
                    frames[key] = encode(*key, broadcast, broadcast.data)
                for channel, outbox in group.items():
                    if channel.worker == worker:
                        self._send_local(key[1], frames[key], outbox)
        for channel in (*members.filtered, *members.held):
            if channel.worker != worker or not channel.phase.joined:
                continue
            counts = members.stats_of(channel)
            if broadcast.event in channel.intercepts:
                counts.expect(1)
                counts.filter(INTERCEPTED)
                continue
            key = (channel.client.encoding, counts)
            if key not in frames:
                frames[key] = encode(*key, broadcast, broadcast.data)
            self._send_local(counts, frames[key], channel.client.outbox)

    def _send_local(self, counts: TopicStats, frame: Any, outbox: Any) -> None:
        counts.expect(1)
        if frame is None:
            counts.drop(UNENCODABLE)
            return
        stats.deliveries += 1
        counts.queue(1)
        outbox.send(frame)

    def _deliver_others(
        self, members: TopicMembers, frames: BroadcastFrames, size: int, skipped: int | None, traced: Traced
    ) -> None:
        """Deliver a broadcast to the members that are not in `fast`."""
        for (encoding, counts), group in members.positioned.items():
            _send_positioned(encoding, counts if traced is None else traced[counts], group, frames, skipped)
        only = next(iter(members.stats.values())) if len(members.stats) == 1 else None
        for channel in tuple(members.filtered):
            own = only or members.stats_of(channel)
            counts = own if traced is None else traced[own]
            relation = send_compared(channel, counts, frames, channel.number == skipped)
            if relation is AFTER:
                members.promote(channel, own)
            elif relation is MISSED:
                self.on_missed(channel)
        for channel, held in tuple(members.held.items()):
            own = only or members.stats_of(channel)
            counts = own if traced is None else traced[own]
            self._keep(channel, held, frames, channel.number == skipped, size, counts)

    def _keep(
        self,
        channel: GatewayChannel,
        held: HeldBroadcasts,
        frames: BroadcastFrames,
        skipped: bool,
        size: int,
        counts: TopicStats,
    ) -> None:
        if len(held) >= self._max_held or held.size + size > self._max_held_bytes:
            channel.client.transport.close_slow(held.size + size)
            held.drop(HELD_OVERFLOW)
            counts.drop(HELD_OVERFLOW)
            return
        behind = 0 if skipped else commands_before(frames.header, self._gateway, channel)
        held.add(HeldBroadcast(frames, skipped, behind, counts, size))


def _send_positioned(
    encoding: Encoding,
    counts: TopicStats,
    group: dict[GatewayChannel, Any],
    frames: BroadcastFrames,
    skipped: int | None,
) -> None:
    """Send a broadcast to a group of channels whose clients asked for positions."""
    ready, receivers = frames.positioned(encoding, counts), len(group)
    for channel in group if skipped is not None else ():
        if channel.number == skipped:
            receivers -= 1
            counts.filter(SENDER)
            send_position(channel, counts, frames)
    if ready[-1] is None:
        counts.drop(UNENCODABLE, receivers)
        return
    stats.deliveries += receivers
    counts.queue(receivers)
    for frame in ready:
        for channel, outbox in group.items():
            if channel.number != skipped:
                outbox.send(frame)
