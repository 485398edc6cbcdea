"""Decides when a peer whose link has ended is tried again. Pure: time and randomness are arguments.

Each failure doubles the wait, up to a bound; it is forgotten once a link has been sound for a while. Both
sides use it: a gateway for the workers that it links to, a worker for the gateways that it welcomes.
"""

from enum import Enum

FIRST_SECONDS = 0.25
MAX_UNREACHABLE_SECONDS = 2.0
"""Between tries of a peer that cannot be reached: a network that is back should be noticed soon."""
MAX_BROKEN_SECONDS = 60.0
"""Between tries of a peer that breaks the protocol: it will most likely do so again."""
SOUND_SECONDS = 30.0
"""A link that has been up for this long counts as sound: earlier failures are forgotten."""
FLAPS = 3
"""A peer whose link ended that often without having been sound is avoided, however it ended."""
FORGET_SECONDS = 600.0
"""After the wait, if the peer has not come back: most come back under another id."""
MAX_PEERS = 10_000
"""Remembered; then the one that failed longest ago is forgotten."""


class End(Enum):
    """How a link came to its end."""

    CONNECTION = "the connection ended"
    PROTOCOL = "the protocol was broken"
    SILENCE = "the peer says nothing"
    BEHIND = "the peer was too far behind"


class _Peer:
    __slots__ = ("avoided", "failures", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.avoided = False
        self.until = 0.0


class Backoff:
    """What is remembered of peers whose links have ended."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def failed(self, peer: str, end: End, up_seconds: float, now: float, chance: float) -> bool:
        """A link has ended, or did not come about; returns whether that is news.

        Args:
            peer: its id.
            end: how it ended.
            up_seconds: how long it had been up; 0 if it never was.
            now: in seconds of any one clock.
            chance: a random number from 0 to 1: peers are not to be tried all at once.
        """
        known = self._peers.pop(peer, None)
        if known is None or up_seconds >= SOUND_SECONDS:
            known = _Peer()
            self._make_room(now)
        self._peers[peer] = known
        known.failures += 1
        known.avoided |= end is End.PROTOCOL or (up_seconds > 0 and known.failures >= FLAPS)
        most = MAX_UNREACHABLE_SECONDS if end is End.CONNECTION and not up_seconds else MAX_BROKEN_SECONDS
        wait = min(FIRST_SECONDS * 2.0 ** min(known.failures - 1, 30), most)
        known.until = now + wait * (0.5 + chance / 2)
        return known.failures == 1

    def _make_room(self, now: float) -> None:
        """In the order of their failures: forget those of long ago, and the oldest of too many."""
        while self._peers:
            oldest, known = next(iter(self._peers.items()))
            if len(self._peers) < MAX_PEERS and now - known.until < FORGET_SECONDS:
                break
            del self._peers[oldest]

    def waits(self, peer: str, now: float) -> float:
        """How many seconds a peer is not to be tried yet; 0: it may be."""
        known = self._peers.get(peer)
        return max(0.0, known.until - now) if known is not None else 0.0

    def avoids(self, peer: str) -> bool:
        """Whether channels are better off elsewhere, although a link is up."""
        known = self._peers.get(peer)
        return known is not None and known.avoided

    def sound(self, peer: str, up_seconds: float) -> bool:
        """Whether its link has just proved sound after more than one failure; then they are forgotten."""
        if up_seconds < SOUND_SECONDS or peer not in self._peers:
            return False
        return self._peers.pop(peer).failures > 1

    def __bool__(self) -> bool:
        """Whether anything is remembered."""
        return bool(self._peers)
