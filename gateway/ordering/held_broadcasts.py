"""The broadcasts that wait for one channel: for its join to be answered, for commands before them. Pure."""

from typing import Any, NamedTuple

from gateway.fanout.delivery_stats import TopicStats


class HeldBroadcast(NamedTuple):
    """A broadcast that waits.

    Attributes:
        frame: ready to be sent to the channel's client.
        behind: how many commands of the channel's worker must have come before it.
        counts: count what becomes of it.
        size: bytes of its payload.
    """

    origin: str
    sequence: int
    event: str
    frame: Any
    behind: int
    counts: TopicStats
    size: int


class HeldBroadcasts:
    """Those of one channel, the oldest first.

    Attributes:
        size: bytes of their payloads.
    """

    __slots__ = ("_broadcasts", "size")

    def __init__(self) -> None:
        self._broadcasts: list[HeldBroadcast] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._broadcasts)

    def add(self, held: HeldBroadcast) -> None:
        """One more."""
        held.counts.hold()
        self._broadcasts.append(held)
        self.size += held.size

    def due(self, received: int) -> list[HeldBroadcast]:
        """Take out those that need not wait when so many commands have come.

        Ends before the first that must wait on: later ones may not overtake it.
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
        """None of them is delivered."""
        for held in self._broadcasts:
            held.counts.hold(-1)
            held.counts.drop(reason)
        self._broadcasts, self.size = [], 0

    def forget_commands(self) -> None:
        """They wait for no command any more."""
        self._broadcasts = [held._replace(behind=0) for held in self._broadcasts]
