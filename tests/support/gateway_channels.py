"""Brings a channel of a gateway to a phase, on the way that its table allows."""

from mesh.gateway.channels.phases import Event, Phase


def place(channel, worker="w"):
    """A worker has its JOIN."""
    if channel.phase is Phase.SUBSCRIBING:
        channel.handle(Event.SUBSCRIBED)
    channel.placed(worker)


def answer(channel):
    """Its worker has accepted the join."""
    channel.handle(Event.ACCEPTED)
    channel.pending = None
