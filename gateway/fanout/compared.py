"""Sends a broadcast to one channel, after comparing it with the channel's join and its position."""

from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.delivery_stats import (
    BEFORE_JOIN,
    CHANNEL_ENDED,
    INTERCEPTED,
    SENDER,
    UNENCODABLE,
    TopicStats,
)
from mesh.gateway.fanout.frames import BroadcastFrames
from mesh.gateway.ordering.numbers import Relation, relation_to_join
from mesh.telemetry import stats

BEFORE, MISSED = Relation.BEFORE, Relation.MISSED


def send_compared(
    channel: GatewayChannel, counts: TopicStats, frames: BroadcastFrames, skipped: bool
) -> Relation:
    """Send a broadcast to a joined channel if it is for it, and count the outcome.

    Args:
        channel: the channel.
        counts: counts the outcome.
        frames: the broadcast.
        skipped: whether the channel made it with broadcast_from.

    Returns:
        Its relation to the channel's join. With MISSED, the channel must be ended.
    """
    header = frames.header
    relation = relation_to_join(channel, header)
    if skipped or relation is BEFORE or relation is MISSED or header.event in channel.intercepts:
        _leave_out(channel, counts, frames, skipped, relation)
        return relation
    client = channel.client
    if channel.recovery is not None and header.recorded is not None:
        *positions, frame = frames.positioned(client.encoding, counts)
        for position in positions:
            client.outbox.send(position)
    else:
        frame = frames.plain(client.encoding, counts)
    if frame is None:
        counts.drop(UNENCODABLE)
        return relation
    stats.deliveries += 1
    counts.queue(1)
    client.outbox.send(frame)
    return relation


def _leave_out(
    channel: GatewayChannel, counts: TopicStats, frames: BroadcastFrames, skipped: bool, relation: Relation
) -> None:
    if relation is MISSED:
        counts.drop(CHANNEL_ENDED)
    elif skipped:
        counts.filter(SENDER)
        if relation is not BEFORE:
            send_position(channel, counts, frames)
    else:
        counts.filter(INTERCEPTED if frames.header.event in channel.intercepts else BEFORE_JOIN)


def send_position(channel: GatewayChannel, counts: TopicStats, frames: BroadcastFrames) -> None:
    """Send a channel the position of the recorded broadcast that it made, if it asked for positions."""
    if channel.recovery is not None and frames.header.recorded is not None:
        client = channel.client
        client.outbox.send(frames.position(client.encoding, counts))
