"""Compares the sequence numbers and counts that establish an order; ordering.py explains them. Pure."""

from enum import Enum, auto

from mesh.bus.frames import Header
from mesh.gateway.channels.gateway_channel import GatewayChannel


class Relation(Enum):
    """Whether a broadcast was made before or after a channel's join."""

    BEFORE = auto()
    """The channel's worker made it before `join` returned: it is not for the channel."""
    AFTER = auto()
    """The channel's worker made it after that, so all later ones of this worker are after it too."""
    NONE = auto()
    """Another node made it: it is for the channel, but implies nothing about other broadcasts."""


def relation_to_join(channel: GatewayChannel, origin: str, sequence: int) -> Relation:
    """Compare a broadcast with the join of a joined channel."""
    if origin != channel.worker:
        return Relation.NONE
    return Relation.AFTER if sequence > channel.since else Relation.BEFORE


def commands_before(header: Header, gateway: str, channel: GatewayChannel) -> int:
    """Return how many commands of its worker a channel's client must receive before this broadcast."""
    sender = header.sender
    if sender is None or sender.channel != channel.number or sender.gateway != gateway:
        return 0
    return sender.behind
