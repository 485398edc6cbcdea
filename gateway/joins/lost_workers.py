"""Ends the channels of lost workers in slices, which keeps each turn of the event loop short.

What a slice decides is sent at the end of its turn, so the first clients are informed while the last
channels still wait. Until a channel's slice, its phase is unchanged, and pushes of its client are lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter

from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.tick_budget import TICK_BUDGET_SECONDS

SLICE_SECONDS = 4 * TICK_BUDGET_SECONDS
"""The length of a slice: longer than other work may take, because these clients have waited already."""
CHANNELS_PER_CLOCK_CHECK = 16
"""Channels that are ended between two checks of the clock."""


class LostWorkers:
    """The channels that are still to be ended.

    Args:
        channels: all channels of this gateway, by number.
        end: called with each channel of a lost worker, and whether the worker died.
    """

    def __init__(
        self, channels: Mapping[int, GatewayChannel], end: Callable[[GatewayChannel, bool], None]
    ) -> None:
        self._channels = channels
        self._end = end
        self._lost: deque[tuple[GatewayChannel, str, bool]] = deque()
        self._scheduled = False

    def add(self, worker: str, died: bool) -> None:
        """End the channels of a lost worker, the first slice at once.

        Joins in progress come first, in order. Joined channels follow client by client, so that each client
        needs only one send.
        """
        lost = [each for each in self._channels.values() if each.worker == worker]
        lost.sort(key=lambda each: id(each.client) if each.phase.joined else 0)
        self._lost.extend((each, worker, died) for each in lost)
        if not self._scheduled:
            self._end_slice()

    def _end_slice(self) -> None:
        self._scheduled = False
        lost, stop = self._lost, perf_counter() + SLICE_SECONDS
        while lost:
            for _ in range(min(CHANNELS_PER_CLOCK_CHECK, len(lost))):
                channel, worker, died = lost.popleft()
                if channel.worker == worker and channel.number in self._channels:
                    self._end(channel, died)
            if perf_counter() > stop:
                break
        if lost:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_slice)
