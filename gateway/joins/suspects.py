"""Joins that a worker had when it died, and the order in which they are sent to the next worker. Pure.

Any of them may have crashed the worker. If all were sent at once, harmless joins would again be on the
worker that the harmful one crashes. So at first one join is sent alone. Each join that is answered, or that
its worker survives for SURVIVAL_SECONDS, lets two more go; after another death, only one goes again. The
newest goes first, because the worker had survived the others for longer. A gateway waits for a random time
before its first join, so that one of several gateways tries a topic first.
"""

from mesh.gateway.channels.gateway_channel import GatewayChannel

SURVIVAL_SECONDS = 1.0
"""A join that has not crashed its worker within this time lets others go, answered or not."""


class Suspects:
    """The joins that wait for their turn, and those in progress. Time is an argument, in seconds."""

    def __init__(self) -> None:
        self._waiting: dict[GatewayChannel, None] = {}
        self._in_progress: dict[GatewayChannel, float] = {}
        self._ready_at = 0.0
        self._max_in_progress = 1

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._waiting or self._in_progress)

    def add(self, channel: GatewayChannel, ready: float) -> None:
        """Let a join wait: at least until `ready` if it is the first, otherwise as long as the first."""
        if not self._waiting:
            self._ready_at = ready
        if not self:
            self._max_in_progress = 1
        self._waiting[channel] = None

    def waits(self, channel: GatewayChannel) -> bool:
        """Return whether a join waits for its turn."""
        return channel in self._waiting

    def in_progress(self, channel: GatewayChannel) -> bool:
        """Return whether a join has had its turn and is in progress."""
        return channel in self._in_progress

    def answered(self, channel: GatewayChannel) -> None:
        """Note that a worker has answered a join, and has survived it."""
        if self._in_progress.pop(channel, None) is not None:
            self._max_in_progress += 1

    def died(self, channel: GatewayChannel) -> None:
        """Note that the worker of a join has died, because of this join or another one."""
        self.forget(channel)
        self._max_in_progress = 1

    def forget(self, channel: GatewayChannel) -> None:
        """Forget a join that has ended, or for which there is no worker."""
        self._waiting.pop(channel, None)
        self._in_progress.pop(channel, None)

    def due(self, now: float) -> list[GatewayChannel]:
        """Return the joins whose turn it is; they are in progress from now on."""
        self._expire_survivors(now)
        due: list[GatewayChannel] = []
        if now >= self._ready_at:
            free = self._max_in_progress - len(self._in_progress)
            while self._waiting and len(due) < free:
                due.append(self._waiting.popitem()[0])
        self._in_progress.update(dict.fromkeys(due, now + SURVIVAL_SECONDS))
        return due

    def _expire_survivors(self, now: float) -> None:
        """Count joins that their workers have survived as answered; the dict is in order of deadlines."""
        while self._in_progress:
            channel, until = next(iter(self._in_progress.items()))
            if until > now:
                break
            self.answered(channel)
