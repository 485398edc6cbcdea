"""Compares the numbers that prove an order (ordering.py says why). Pure."""

from enum import Enum, auto

from gateway.channels.gateway_channel import GatewayChannel
from mesh.bus.frames import Header


class Relation(Enum):
    """How a broadcast stands to a channel's join."""

    BEFORE = auto()
    """The channel's worker made it before the join returned: it is not for the channel."""
    AFTER = auto()
    """The channel's worker made it later, and so all that it makes from now on."""
    NONE = auto()
    """Somebody else made it: the channel gets it, but it tells nothing of others."""


def relation_to_join(channel: GatewayChannel, origin: str, sequence: int) -> Relation:
    """How a broadcast stands to the join of a channel that is joined."""
    if origin != channel.worker:
        return Relation.NONE
    return Relation.AFTER if sequence > channel.since else Relation.BEFORE


def commands_before(header: Header, gateway: str, channel: GatewayChannel) -> int:
    """How many commands of its worker a channel's client must get before this broadcast."""
    sender = header.sender
    if sender is None or sender.channel != channel.number or sender.gateway != gateway:
        return 0
    return sender.behind
