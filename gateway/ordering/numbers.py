"""Compares the numbers and positions that establish an order; ordering.py explains them. Pure."""

from enum import Enum, auto

from mesh.bus.frames import Received, Recorded, original
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.recovery import Recovery


class Relation(Enum):
    """Whether a broadcast was made before or after a channel's join."""

    BEFORE = auto()
    """Its worker made it before `join` returned, or the client has it: it is not for the channel."""
    AFTER = auto()
    """It was made after that, and so were all later ones that could be compared."""
    NONE = auto()
    """It is for the channel, but implies nothing about other broadcasts."""
    MISSED = auto()
    """A recorded broadcast before it was for the channel as well, and has not arrived."""


def relation_to_join(channel: GatewayChannel, header: Received) -> Relation:
    """Compare a broadcast with the join of a joined channel, or with its position in the history."""
    recorded = header.recorded
    if recorded is not None:
        return _relation_of_recorded(channel, header, recorded)
    if header.origin != channel.worker:
        return Relation.NONE
    return Relation.AFTER if header.sequence > channel.since else Relation.BEFORE


def _relation_of_recorded(channel: GatewayChannel, header: Received, recorded: Recorded) -> Relation:
    """The numbers are those of the original; that of the recorder can only prove that it is newer."""
    position = Relation.NONE
    if channel.recovery is not None:
        position = _by_position(channel.recovery, recorded)
        if position is not Relation.AFTER:
            return position
    if channel.worker == (recorded.origin or header.origin):
        if (recorded.sequence or header.sequence) > channel.since:
            return Relation.AFTER
        return Relation.NONE if position is Relation.AFTER else Relation.BEFORE
    newer = channel.worker == header.origin and header.sequence > channel.since
    return Relation.AFTER if newer else Relation.NONE


def _by_position(recovery: Recovery, recorded: Recorded) -> Relation:
    """Compare, and note that the channel has the broadcast if it is the next one."""
    if recovery.live or not recovery.epoch:
        return Relation.AFTER
    if recorded.epoch != recovery.epoch:
        return Relation.NONE
    if recorded.offset <= recovery.offset:
        return Relation.BEFORE
    if recorded.offset > recovery.offset + 1:
        return Relation.MISSED
    recovery.offset = recorded.offset
    return Relation.AFTER


def made_before_join(channel: GatewayChannel, header: Received) -> bool:
    """Return whether a channel's worker made a broadcast, recorded or not, before `join` returned."""
    made = original(header)
    return made.origin == channel.worker and made.sequence <= channel.since


def commands_before(header: Received, gateway: str, channel: GatewayChannel) -> int:
    """Return how many commands of its worker a channel's client must receive before this broadcast."""
    sender = header.sender
    if sender is None or sender.channel != channel.number or sender.gateway != gateway:
        return 0
    return sender.behind
