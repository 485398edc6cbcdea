"""Holds a channel's broadcasts until the commands that they must follow have arrived.

A channel that pushes and then broadcasts expects its own client to receive the push first, although the bus
may be faster than the link. Its broadcast carries `sender.behind`, the number of commands that must have
arrived on the worker's link before it (docs/protocol.md §2). Until then the broadcast, and every later one
of the topic, is held for that one channel; all other members receive it at once. `waiting` records the
numbers for each worker as a heap, so that the arrival of a command costs one comparison.

There is no time-out: commands on a link arrive, or the link ends, and then the worker is forgotten.
ordering.py explains the guarantee as a whole.
"""

import heapq
from collections.abc import Callable, Mapping
from typing import Protocol

from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.protocol.messages import Sender


class Holder(Protocol):
    """Holds broadcasts for single channels; implemented by the fan-out."""

    def hold(self, channel: GatewayChannel) -> bool:
        """Hold broadcasts for a channel until `release`."""

    def release(self, channel: GatewayChannel, received: int) -> bool:
        """Deliver held broadcasts, up to the first that must follow more than `received` commands."""

    def forget_commands(self, channel: GatewayChannel) -> None:
        """Let what is held for a channel follow no command any more, because the commands are lost."""


class BroadcastsAfterCommands:
    """Delays broadcasts until the commands that they must follow have arrived.

    Args:
        holder: holds the broadcasts of single channels.
        channels: this gateway's channels, by number.
        received: returns the number of commands that a worker has sent.

    Attributes:
        waiting: for each worker, a heap of (number of commands that must have arrived, channel number).
    """

    def __init__(
        self,
        holder: Holder,
        channels: Mapping[int, GatewayChannel],
        received: Callable[[str], int],
    ) -> None:
        self.waiting: dict[str, list[tuple[int, int]]] = {}
        self._holder = holder
        self._channels = channels
        self._received = received

    def keep(self, worker: str, sender: Sender) -> None:
        """Hold broadcasts for the sending channel if commands that they must follow have not arrived."""
        if sender.behind <= self._received(worker):
            return
        channel = self._channels.get(sender.channel)
        if channel is not None and channel.worker == worker:
            self._holder.hold(channel)
            heapq.heappush(self.waiting.setdefault(worker, []), (sender.behind, channel.number))

    def catch_up(self, worker: str, received: int) -> None:
        """Release the broadcasts that need not follow more than `received` commands."""
        waiting = self.waiting[worker]
        while waiting and waiting[0][0] <= received:
            channel = self._channels.get(heapq.heappop(waiting)[1])
            if channel is not None and channel.phase.joined:
                self._holder.release(channel, received)
        if not waiting:
            del self.waiting[worker]

    def forget(self, worker: str) -> None:
        """Forget a worker that is gone: no more commands will arrive from it."""
        self.waiting.pop(worker, None)
