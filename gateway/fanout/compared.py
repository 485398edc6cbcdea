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
    if relation is Relation.MISSED:
        counts.drop(CHANNEL_ENDED)
    elif skipped:
        counts.filter(SENDER)
        if relation is not Relation.BEFORE:
            send_position(channel, counts, frames)
    elif header.event in channel.intercepts:
        counts.filter(INTERCEPTED)
    elif relation is Relation.BEFORE:
        counts.filter(BEFORE_JOIN)
    elif channel.recovery is None or header.recorded is None:
        client = channel.client
        frame = frames.plain(client.encoding, counts)
        if frame is None:
            counts.drop(UNENCODABLE)
        else:
            stats.deliveries += 1
            counts.queue(1)
            client.outbox.send(frame)
    else:
        _send_with_position(channel, counts, frames)
    return relation


def send_position(channel: GatewayChannel, counts: TopicStats, frames: BroadcastFrames) -> None:
    """Send a channel the position of the recorded broadcast that it made, if it asked for positions."""
    if channel.recovery is not None and frames.header.recorded is not None:
        client = channel.client
        client.outbox.send(frames.position(client.encoding, counts))


def _send_with_position(channel: GatewayChannel, counts: TopicStats, frames: BroadcastFrames) -> None:
    client = channel.client
    ready = frames.positioned(client.encoding, counts)
    if not ready:
        counts.drop(UNENCODABLE)
        return
    stats.deliveries += 1
    counts.queue(1)
    for frame in ready:
        client.outbox.send(frame)
