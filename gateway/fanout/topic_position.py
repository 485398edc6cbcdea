"""The position of a topic with a history on this gateway: what comes next, and what was missed. Pure.

The recorder of a topic numbers its broadcasts one by one. Two workers may believe for a moment that they
are the recorder; the greater (term, id) of the two counts, as for every other node. So a gateway notices by
itself if it has missed a broadcast. The clients that asked for positions then join again and recover, each
from its own position; a newer recorder that gives offsets again has the same effect. A recorder that begins
its term publishes a claim with the last offset that was given before, and an epoch begins with offset 1, so
that nothing missing remains unnoticed until the next broadcast.
"""

from enum import Enum, auto

from mesh.bus.frames import Received, Recorded


class Order(Enum):
    """How a recorded broadcast, or a claim, continues those before it."""

    NEXT = auto()
    """Nothing is missing between them."""
    MISSED = auto()
    """Something is missing, or offsets that were seen are given again."""
    DOUBLE = auto()
    """It came before."""
    STALE = auto()
    """Its recorder has been replaced."""


class TopicPosition:
    """The last position seen.

    Attributes:
        complained: whether it was logged that something was missed.
    """

    __slots__ = ("_epoch", "_offset", "_recorder", "complained")

    def __init__(self) -> None:
        self._recorder = (-1, "")
        self._epoch = ""
        self._offset = 0
        self.complained = False

    def order(self, header: Received, recorded: Recorded) -> Order:
        """Compare a recorded broadcast or a claim with the last position, which becomes its own."""
        # With term 0, a store keeps the positions of all recorders unique.
        recorder = (recorded.term, header.origin if recorded.term else "")
        if recorder < self._recorder:
            return Order.STALE
        before = recorded.offset - 1 if header.event else recorded.offset
        last = self._offset if recorded.epoch == self._epoch else 0
        if before < last and recorder == self._recorder:
            return Order.DOUBLE
        first = not self._epoch
        self._recorder, self._epoch, self._offset = recorder, recorded.epoch, recorded.offset
        return Order.NEXT if before == last or first else Order.MISSED
