"""Which replicas are up, down, or permanently down. Pure: time is an argument.

Source: Phoenix.Tracker.Replica. A replica that falls silent, or is reported lost, is down; its next message
makes it up again. After a long silence it is permanently down and may be forgotten.
"""


class Replicas:
    """The other replicas, and when a message of each was last received.

    Args:
        down_seconds: how long a replica may be silent before it is down.
        permdown_seconds: how long it may be silent before it is permanently down.
    """

    def __init__(self, down_seconds: float, permdown_seconds: float) -> None:
        self._down_seconds = down_seconds
        self._permdown_seconds = permdown_seconds
        self._last_message_at: dict[str, float] = {}
        self._down: set[str] = set()

    def record_message(self, replica: str, now: float) -> bool:
        """Record a message of a replica; return whether it was not up before."""
        new = replica not in self._last_message_at or replica in self._down
        self._last_message_at[replica] = now
        self._down.discard(replica)
        return new

    def lost(self, replica: str) -> bool:
        """Record that a node reported a replica as lost; return whether it was up before."""
        if not self.is_up(replica):
            return False
        self._down.add(replica)
        return True

    def is_up(self, replica: str) -> bool:
        """Return whether the replica is up."""
        return replica in self._last_message_at and replica not in self._down

    def up(self) -> list[str]:
        """Return the replicas that are up."""
        return [replica for replica in self._last_message_at if replica not in self._down]

    def expire(self, now: float) -> tuple[list[str], list[str]]:
        """Find the replicas that have been silent for too long.

        Returns:
            (the replicas that are down now and were up before, those that are permanently down now).
        """
        down = [each for each in self.up() if now - self._last_message_at[each] > self._down_seconds]
        self._down.update(down)
        permanently_down = [
            each for each in self._down if now - self._last_message_at[each] > self._permdown_seconds
        ]
        for replica in permanently_down:
            self._down.discard(replica)
            del self._last_message_at[replica]
        return [each for each in down if each not in permanently_down], permanently_down

    def forget(self, replica: str) -> None:
        """Forget a replica that has stopped."""
        self._last_message_at.pop(replica, None)
        self._down.discard(replica)

    def resume(self, now: float) -> None:
        """Restart all periods of silence: this process was frozen and could not receive anything."""
        for replica in self._last_message_at:
            if replica not in self._down:
                self._last_message_at[replica] = now
