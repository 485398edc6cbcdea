"""Keeps a channel's broadcasts behind the commands they must follow (docs/protocol.md §2, `sender.behind`).

The other half of the order guarantee (order.py): what a channel broadcasts after it has pushed reaches its
own client after that push, though the bus may be quicker than the link.
"""

import heapq
from collections.abc import Callable, Mapping

from gateway.channels.gateway_channel import GatewayChannel
from gateway.fanout.fanout import Fanout
from mesh.messages import Sender


class BroadcastsAfterCommands:
    """Keeps broadcasts behind commands.

    Args:
        fanout: holds what waits.
        channels: of this gateway, by number.
        received: how many commands a worker has sent.

    Attributes:
        waiting: by worker: (how many commands must have come, the number of the channel), the fewest first.
    """

    def __init__(
        self, fanout: Fanout, channels: Mapping[int, GatewayChannel], received: Callable[[str], int]
    ) -> None:
        self.waiting: dict[str, list[tuple[int, int]]] = {}
        self._fanout = fanout
        self._channels = channels
        self._received = received

    def keep(self, worker: str, sender: Sender) -> None:
        """A channel broadcasts what its own client must get after commands still on their way."""
        if sender.behind <= self._received(worker):
            return
        channel = self._channels.get(sender.channel)
        if channel is not None and channel.worker == worker:
            self._fanout.hold(channel)
            heapq.heappush(self.waiting.setdefault(worker, []), (sender.behind, channel.number))

    def catch_up(self, worker: str, received: int) -> None:
        """So many commands have come: broadcasts that had to follow them go out."""
        waiting = self.waiting[worker]
        while waiting and waiting[0][0] <= received:
            channel = self._channels.get(heapq.heappop(waiting)[1])
            if channel is not None and channel.phase.joined:
                self._fanout.release(channel, received)
        if not waiting:
            del self.waiting[worker]

    def forget(self, worker: str) -> None:
        """It is gone: no more commands come."""
        self.waiting.pop(worker, None)
