"""Ends the channels of workers that are gone, in slices that keep each turn of the event loop short.

What is decided in a turn leaves at its end, so the first clients hear of it while the last channels still
wait. Until it is a channel's turn it stands as it was: what its client pushes is lost with the worker.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter

from gateway.channels.gateway_channel import GatewayChannel
from mesh.tick_budget import TICK_BUDGET_SECONDS

SLICE_SECONDS = 4 * TICK_BUDGET_SECONDS
"""Length of a slice. Others wait for it; the clients of the dead worker have waited already."""
CHANNELS_PER_LOOK = 16
"""Channels that are ended between two looks at the clock."""


class LostWorkers:
    """The channels that are still to be ended.

    Args:
        channels: all of this gateway, by number.
        end: called with each that its worker took along, and whether that died.
    """

    def __init__(
        self, channels: Mapping[int, GatewayChannel], end: Callable[[GatewayChannel, bool], None]
    ) -> None:
        self._channels = channels
        self._end = end
        self._lost: deque[tuple[GatewayChannel, str, bool]] = deque()
        self._scheduled = False

    def add(self, worker: str, died: bool) -> None:
        """A worker is gone: end its channels, the first of them at once.

        Joins under way come first, in order; then the joined channels client by client, for one send each.
        """
        lost = [each for each in self._channels.values() if each.worker == worker]
        lost.sort(key=lambda each: id(each.client) if each.phase.joined else 0)
        self._lost.extend((each, worker, died) for each in lost)
        if not self._scheduled:
            self._turn()

    def _turn(self) -> None:
        self._scheduled = False
        lost, stop = self._lost, perf_counter() + SLICE_SECONDS
        while lost:
            for _ in range(min(CHANNELS_PER_LOOK, len(lost))):
                channel, worker, died = lost.popleft()
                if channel.worker == worker and channel.number in self._channels:
                    self._end(channel, died)
            if perf_counter() > stop:
                break
        if lost:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)
