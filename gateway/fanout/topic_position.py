"""The position of a topic with a history on this gateway: what comes next, and what was missed. Pure.

The recorder of a topic numbers its broadcasts one by one. Two workers may believe for a moment that they
are the recorder; the greater (term, id) of the two counts, as for every other node. So a gateway notices by
itself if it has missed a broadcast. The clients that asked for positions then join again and recover, each
from its own position; a newer recorder that gives offsets again has the same effect. A recorder that begins
its term publishes a claim with the last offset that was given before, and an epoch begins with offset 1, so
that nothing missing remains unnoticed until the next broadcast.

A node that has not announced itself as a recorder never replaces one that has, whatever its term. If a
recorder is replaced and goes on, but the other one is not heard for GIVE_WAY_SECONDS, it counts again: the
other one does not exist, or terms have begun again (mesh/history/log.py).
"""

from enum import Enum, auto

from mesh.bus.frames import Received, Recorded

GIVE_WAY_SECONDS = 10.0
"""Far longer than it takes a recorder to notice that it was replaced."""


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

    __slots__ = ("_epoch", "_offset", "_recorder", "_stale_since", "complained")

    def __init__(self) -> None:
        self._recorder = (False, -1, "")
        self._stale_since: float | None = None
        self._epoch = ""
        self._offset = 0
        self.complained = False

    def order(self, header: Received, recorded: Recorded, announced: bool = False) -> Order:
        """Compare a recorded broadcast or a claim with the last position, which becomes its own.

        Args:
            header: its header.
            recorded: its position.
            announced: whether its origin has announced itself as a recorder.
        """
        # With term 0, a store keeps the positions of all recorders unique.
        recorder = (announced, recorded.term, header.origin if recorded.term else "")
        if recorder < self._recorder:
            return Order.STALE
        before = recorded.offset - 1 if header.event else recorded.offset
        last = self._offset if recorded.epoch == self._epoch else 0
        if before < last and recorder[1:] == self._recorder[1:]:
            return Order.DOUBLE
        first = not self._epoch
        self._stale_since = None
        self._recorder, self._epoch, self._offset = recorder, recorded.epoch, recorded.offset
        return Order.NEXT if before == last or first else Order.MISSED

    def gives_way(self, announced: bool, now: float) -> bool:
        """Return whether a stale broadcast counts, because its recorder was replaced by nobody.

        Args:
            announced: whether its origin has announced itself as a recorder.
            now: the time in seconds of any one clock.
        """
        if announced < self._recorder[0]:
            return False
        if self._stale_since is None:
            self._stale_since = now
        if now - self._stale_since < GIVE_WAY_SECONDS:
            return False
        self._recorder, self._stale_since = (False, -1, ""), None
        return True
