"""What a channel's client has received of its topic's history. Pure.

A client that joins with `history` is sent what it has missed, up to a position, and then the broadcasts
above it. Until the missed ones are complete, broadcasts are held for the channel. Afterwards each recorded
broadcast is compared with `offset` (gateway/ordering/numbers.py), until the channel is `live`: from then on
no broadcast can come late, and the topic's position is enough (gateway/fanout/topic_position.py).
"""

from mesh.link.commands import HistoryState


class Recovery:
    """The position of one channel.

    Attributes:
        epoch: the epoch of `offset`; empty if it is not known.
        offset: the client has, or does not want, the recorded broadcasts of this epoch up to this one.
        missing: how many missed broadcasts are still to come; None until that is known.
        live: whether the client receives every recorded broadcast of the topic, without a comparison.
        fresh: whether `offset` must be corrected by what is held for the channel, and then be sent.
    """

    __slots__ = ("_last", "epoch", "fresh", "live", "missing", "offset")

    def __init__(self) -> None:
        self.epoch = ""
        self.offset = 0
        self.missing: int | None = None
        self.live = False
        self.fresh = False
        self._last = 0

    @property
    def complete(self) -> bool:
        """Whether the client has all that it missed."""
        return self.missing == 0

    def begin(self, state: HistoryState) -> bool:
        """Take the position from the worker; return False if the worker must not send it."""
        if self.missing is not None or (state.count and not (state.recovered and state.epoch)):
            return False
        self.epoch, self.offset, self.missing = state.epoch, state.offset, state.count
        self.fresh = state.fresh and not state.count
        return True

    def take(self, offset: int) -> bool:
        """Note a missed broadcast; return False if it is one too many, or not in order."""
        if not self.missing or not self._last < offset <= self.offset:
            return False
        self._last = offset
        self.missing -= 1
        return True
