"""Sends the first position of a client that has asked for nothing but positions.

Its worker reads the position after it has answered the join, perhaps much later, while the topic's recorder
changes. What was broadcast in between is for the client: it is among what is held for the channel. So the
position is the last one before that.
"""

from collections.abc import Iterable

from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.ordering.held_broadcasts import HeldBroadcast
from mesh.gateway.ordering.numbers import made_before_join
from mesh.protocol import positions
from mesh.protocol.messages import JSON


def send_fresh_position(channel: GatewayChannel, held: Iterable[HeldBroadcast]) -> None:
    """Send `history_state` if it is due, with the position before what is held for the channel."""
    recovery = channel.recovery
    if recovery is None or not recovery.fresh:
        return
    recovery.fresh = False
    for each in held:
        recorded = each.frames.header.recorded
        if recorded is None or recorded.epoch != recovery.epoch:
            continue
        if recorded.offset > recovery.offset:
            break
        if not made_before_join(channel, each.frames.header):
            recovery.offset = recorded.offset - 1
            break
    payload = positions.encode_state(recovery.epoch, recovery.offset, True, 0)
    client = channel.client
    frame = client.encoding.serializer.encode_push(
        channel.push_join_ref, channel.topic, positions.HISTORY_STATE, JSON, payload
    )
    client.outbox.send(client.encoding.ready(frame))
