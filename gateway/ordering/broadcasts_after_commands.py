"""Keeps a channel's broadcasts behind the commands they must follow (docs/protocol.md §2, `sender.behind`).

What a channel broadcasts after it has pushed reaches its own client after that push, though the bus may be
quicker than the link. ordering.py has the whole.
"""

import heapq
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.channels.gateway_channel import GatewayChannel
from mesh.messages import Sender


class Holder(Protocol):
    """Holds broadcasts for single channels: the fan-out."""

    def hold(self, channel: GatewayChannel) -> bool:
        """Hold broadcasts for a channel until `release`."""

    def release(self, channel: GatewayChannel, received: int) -> bool:
        """Deliver what is held, up to the first that must follow more than `received` commands."""

    def forget_commands(self, channel: GatewayChannel) -> None:
        """What is held for a channel need not follow any command."""


class BroadcastsAfterCommands:
    """Keeps broadcasts behind commands.

    Args:
        holder: holds what waits.
        channels: of this gateway, by number.
        received: how many commands a worker has sent.

    Attributes:
        waiting: by worker: (how many commands must have come, the number of the channel), the fewest first.
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
        """A channel broadcasts what its own client must get after commands still on their way."""
        if sender.behind <= self._received(worker):
            return
        channel = self._channels.get(sender.channel)
        if channel is not None and channel.worker == worker:
            self._holder.hold(channel)
            heapq.heappush(self.waiting.setdefault(worker, []), (sender.behind, channel.number))

    def catch_up(self, worker: str, received: int) -> None:
        """So many commands have come: broadcasts that had to follow them go out."""
        waiting = self.waiting[worker]
        while waiting and waiting[0][0] <= received:
            channel = self._channels.get(heapq.heappop(waiting)[1])
            if channel is not None and channel.phase.joined:
                self._holder.release(channel, received)
        if not waiting:
            del self.waiting[worker]

    def forget(self, worker: str) -> None:
        """It is gone: no more commands come."""
        self.waiting.pop(worker, None)
