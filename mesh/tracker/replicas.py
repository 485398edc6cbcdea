"""Which replicas are up, down, or gone for good. Pure: time is an argument.

Source: Phoenix.Tracker.Replica. A replica that falls silent, or is reported lost, is down; it is up
again with its next message. After a long silence it is gone for good and may be forgotten.
"""


class Replicas:
    """The other replicas and when they were last heard.

    Args:
        down_seconds: of silence after which a replica is down.
        permdown_seconds: of silence after which it is gone for good.
    """

    def __init__(self, down_seconds: float, permdown_seconds: float) -> None:
        self._down_seconds = down_seconds
        self._permdown_seconds = permdown_seconds
        self._heard: dict[str, float] = {}
        self._down: set[str] = set()

    def heard(self, replica: str, now: float) -> bool:
        """A message of a replica came; returns whether it was not up before."""
        new = replica not in self._heard or replica in self._down
        self._heard[replica] = now
        self._down.discard(replica)
        return new

    def lost(self, replica: str) -> bool:
        """Some node reports that a replica died; returns whether it was up until now."""
        if not self.is_up(replica):
            return False
        self._down.add(replica)
        return True

    def is_up(self, replica: str) -> bool:
        """Whether the replica was heard, and is not down."""
        return replica in self._heard and replica not in self._down

    def up(self) -> list[str]:
        """Those that are up."""
        return [replica for replica in self._heard if replica not in self._down]

    def expire(self, now: float) -> tuple[list[str], list[str]]:
        """Look which have been silent for too long.

        Returns:
            (those that are down now and were up before, those that are gone for good).
        """
        down = [each for each in self.up() if now - self._heard[each] > self._down_seconds]
        self._down.update(down)
        gone = [each for each in self._down if now - self._heard[each] > self._permdown_seconds]
        for replica in gone:
            self._down.discard(replica)
            del self._heard[replica]
        return [each for each in down if each not in gone], gone

    def forget(self, replica: str) -> None:
        """The replica has stopped."""
        self._heard.pop(replica, None)
        self._down.discard(replica)

    def resume(self, now: float) -> None:
        """This process was frozen and could hear nobody: start counting everybody's silence again."""
        for replica in self._heard:
            if replica not in self._down:
                self._heard[replica] = now
