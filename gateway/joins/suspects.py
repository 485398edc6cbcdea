"""Joins that were under way on a worker that died, on their way to the next one. Pure.

Any of them may have ended it. They are not all sent at once, or the innocent would be on the next worker,
too, when that dies of the same join: at first one goes alone, and each that is answered, or lives on a
worker for a while, lets two more go. After another death only one goes again.
The youngest goes first: the others had been on the dead worker for longer, and it lived.
A gateway waits a random moment before its first, so that of several gateways one tries a topic first.
"""

from gateway.channels.gateway_channel import GatewayChannel

ALONE_SECONDS = 1.0
"""A join that has not ended its worker by then makes room for others, answered or not."""


class Suspects:
    """Those that wait and those that are under way. Time is an argument, in seconds."""

    def __init__(self) -> None:
        self._waiting: dict[GatewayChannel, None] = {}
        self._under_way: dict[GatewayChannel, float] = {}
        self._ready = 0.0
        self._at_once = 1

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._waiting or self._under_way)

    def add(self, channel: GatewayChannel, ready: float) -> None:
        """Let a join wait: at least until `ready` if it is the first, else as long as the first."""
        if not self._waiting:
            self._ready = ready
        if not self:
            self._at_once = 1
        self._waiting[channel] = None

    def waits(self, channel: GatewayChannel) -> bool:
        """Whether a join still waits for its turn."""
        return channel in self._waiting

    def under_way(self, channel: GatewayChannel) -> bool:
        """Whether a join had its turn a moment ago."""
        return channel in self._under_way

    def answered(self, channel: GatewayChannel) -> None:
        """A worker has answered a join, and lives."""
        if self._under_way.pop(channel, None) is not None:
            self._at_once += 1

    def died(self, channel: GatewayChannel) -> None:
        """Its worker has died: it, or another one, is to blame."""
        self.forget(channel)
        self._at_once = 1

    def forget(self, channel: GatewayChannel) -> None:
        """A join is over, answered or not, or no worker can take it."""
        self._waiting.pop(channel, None)
        self._under_way.pop(channel, None)

    def due(self, now: float) -> list[GatewayChannel]:
        """The joins whose turn it is; they are under way from now on."""
        self._let_live(now)
        going: list[GatewayChannel] = []
        if now >= self._ready:
            room = self._at_once - len(self._under_way)
            while self._waiting and len(going) < room:
                going.append(self._waiting.popitem()[0])
        self._under_way.update(dict.fromkeys(going, now + ALONE_SECONDS))
        return going

    def _let_live(self, now: float) -> None:
        """Those that went first are the first in the dict."""
        while self._under_way:
            channel, until = next(iter(self._under_way.items()))
            if until > now:
                break
            self.answered(channel)
