"""Broadcasts held for one channel until its join is answered or earlier commands arrive. Pure.

The queue is in the order of arrival and is released from its front only. A broadcast that may go out waits
behind one that may not, because broadcasts of one origin to one topic must not overtake each other. How
much is held is limited by the fan-out (gateway/fanout/fanout.py).
"""

from collections.abc import Iterator
from typing import NamedTuple

from mesh.gateway.fanout.delivery_stats import TopicStats
from mesh.gateway.fanout.frames import BroadcastFrames


class HeldBroadcast(NamedTuple):
    """A held broadcast.

    Attributes:
        frames: the broadcast, and its frames once it is sent.
        skipped: whether the channel made it with broadcast_from.
        behind: how many commands of the channel's worker must arrive before it.
        counts: counts its outcome.
        size: the size of its payload in bytes.
    """

    frames: BroadcastFrames
    skipped: bool
    behind: int
    counts: TopicStats
    size: int


class HeldBroadcasts:
    """The held broadcasts of one channel, the oldest first.

    Attributes:
        size: the size of their payloads in bytes.
    """

    __slots__ = ("_broadcasts", "size")

    def __init__(self) -> None:
        self._broadcasts: list[HeldBroadcast] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._broadcasts)

    def __iter__(self) -> Iterator[HeldBroadcast]:
        return iter(self._broadcasts)

    def add(self, held: HeldBroadcast) -> None:
        """Append a broadcast."""
        held.counts.hold()
        self._broadcasts.append(held)
        self.size += held.size

    def due(self, received: int) -> list[HeldBroadcast]:
        """Remove and return the broadcasts that may go out once `received` commands have arrived.

        Stops before the first that must still wait, because later ones must not overtake it.
        """
        number = 0
        for held in self._broadcasts:
            if held.behind > received:
                break
            number += 1
            self.size -= held.size
            held.counts.hold(-1)
        due = self._broadcasts[:number]
        del self._broadcasts[:number]
        return due

    def drop(self, reason: str) -> None:
        """Drop all of them, counted with this reason."""
        for held in self._broadcasts:
            held.counts.hold(-1)
            held.counts.drop(reason)
        self._broadcasts, self.size = [], 0

    def forget_commands(self) -> None:
        """Let them follow no command any more."""
        self._broadcasts = [held._replace(behind=0) for held in self._broadcasts]
