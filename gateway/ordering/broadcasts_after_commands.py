"""Holds a channel's broadcasts until the commands that they must follow have arrived.

A channel that pushes and then broadcasts expects its own client to receive the push first, although the bus
may be faster than the link. Its broadcast carries `sender.behind`, the number of commands that must have
arrived on the worker's link before it (docs/protocol.md §2). Until then the broadcast, and every later one
of the topic, is held for that one channel; all other members receive it at once. `waiting` records the
numbers for each worker as a heap, so that the arrival of a command costs one comparison.

Commands on a link arrive, or the link ends, and then the worker is forgotten. So only a wrong number can
make a broadcast wait for ever: the wait is limited, and after that the numbers of this worker are ignored
until its link ends. Numbers of other nodes are always ignored. ordering.py explains the guarantee as a
whole.
"""

import asyncio
import heapq
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from mesh.bus.frames import Received
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.protocol.messages import Sender
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

LINK_HOLDS = 40
"""The longest wait for commands, in multiples of `hold_seconds`. It is long, because commands may be late
while the gateway is far behind with reading the link."""


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
        hold_seconds: how long a command may wait for a broadcast; a broadcast waits up to LINK_HOLDS times
            as long for commands.

    Attributes:
        waiting: for each worker, a heap of (number of commands that must have arrived, channel number).
    """

    def __init__(
        self,
        holder: Holder,
        channels: Mapping[int, GatewayChannel],
        received: Callable[[str], int],
        hold_seconds: float,
    ) -> None:
        self.waiting: dict[str, list[tuple[int, int]]] = {}
        self._holder = holder
        self._channels = channels
        self._received = received
        self._seconds = LINK_HOLDS * hold_seconds
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._miscounting: set[str] = set()

    def keep(self, header: Received, sender: Sender, worker: str) -> Received:
        """Hold broadcasts for the sending channel if commands that they must follow have not arrived.

        `worker` has made the broadcast. Returns the header; if its number of commands must be ignored,
        without it.
        """
        if sender.behind <= self._received(worker):
            return header
        channel = self._channels.get(sender.channel)
        if channel is None or channel.worker != worker or worker in self._miscounting:
            return msgspec.structs.replace(header, sender=sender._replace(behind=0))
        self._holder.hold(channel)
        if worker not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[worker] = loop.call_later(self._seconds, self._late, worker, sender.behind)
        heapq.heappush(self.waiting.setdefault(worker, []), (sender.behind, channel.number))
        return header

    def catch_up(self, worker: str, received: int) -> None:
        """Release the broadcasts that need not follow more than `received` commands."""
        waiting = self.waiting[worker]
        while waiting and waiting[0][0] <= received:
            channel = self._channels.get(heapq.heappop(waiting)[1])
            if channel is not None and channel.phase.joined:
                self._holder.release(channel, received)
        if not waiting:
            del self.waiting[worker]
            self._stop_timer(worker)

    def forget(self, worker: str) -> None:
        """Forget a worker that is gone: no more commands will arrive from it."""
        self.waiting.pop(worker, None)
        self._miscounting.discard(worker)
        self._stop_timer(worker)

    def _stop_timer(self, worker: str) -> None:
        timer = self._timers.pop(worker, None)
        if timer is not None:
            timer.cancel()

    def _late(self, worker: str, behind: int) -> None:
        """Give up on commands that have not arrived since the timer was started."""
        del self._timers[worker]
        received = self._received(worker)
        if behind <= received:  # these have arrived: only newer broadcasts wait
            newest = max(number for number, _ in self.waiting[worker])
            loop = asyncio.get_running_loop()
            self._timers[worker] = loop.call_later(self._seconds, self._late, worker, newest)
            return
        counters.count("hold_timeouts")
        log.error(
            "broadcasts follow commands that do not arrive: sender.behind of this worker is ignored",
            worker=worker,
            behind=behind,
            received=received,
        )
        self._miscounting.add(worker)
        for number in {number for _, number in self.waiting.pop(worker)}:
            self._release_all(number, received)

    def _release_all(self, number: int, received: int) -> None:
        channel = self._channels.get(number)
        if channel is not None:
            self._holder.forget_commands(channel)
            if channel.phase.joined:
                self._holder.release(channel, received)
