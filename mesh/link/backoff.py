"""Decides when to reconnect to a peer whose link has ended. Pure: time and randomness are arguments.

Each failure doubles the delay, up to a bound; failures are forgotten once a link has been stable for a
while. Both sides use it: a gateway for the workers that it connects to, a worker for the gateways that it
accepts.
"""

from enum import Enum

FIRST_SECONDS = 0.25
MAX_UNREACHABLE_SECONDS = 2.0
"""The longest delay if a peer cannot be reached: the return of a network should be noticed soon."""
MAX_BROKEN_SECONDS = 60.0
"""The longest delay if a peer breaks the protocol: it will probably do so again."""
SOUND_SECONDS = 30.0
"""A link that has been up for this long counts as stable: earlier failures are forgotten."""
FLAPS = 3
"""After this many ends of links that were not stable, a peer is avoided, however its links ended."""
FORGET_SECONDS = 600.0
"""How long a peer is remembered after the delay, in case it returns: most return with another id."""
MAX_PEERS = 10_000
"""The most peers that are remembered; beyond it the one that failed longest ago is forgotten."""


class End(Enum):
    """The cause of a link's end."""

    CONNECTION = "the connection ended"
    PROTOCOL = "the protocol was broken"
    SILENCE = "the peer does not answer"
    BEHIND = "the peer was too far behind"


class _Peer:
    __slots__ = ("avoided", "failures", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.avoided = False
        self.until = 0.0


class Backoff:
    """The failures of peers."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def failed(self, peer: str, end: End, up_seconds: float, now: float, chance: float) -> bool:
        """Record that a link has ended or could not be established; return whether that should be logged.

        Args:
            peer: the id of the peer.
            end: why the link ended.
            up_seconds: how long the link had been up; 0 if it never was.
            now: the time, in seconds of any one clock.
            chance: a random number from 0 to 1, so that not all peers are tried at the same time.
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
        """Forget the peers whose failures are long ago, and the oldest ones if there are too many."""
        while self._peers:
            oldest, known = next(iter(self._peers.items()))
            if len(self._peers) < MAX_PEERS and now - known.until < FORGET_SECONDS:
                break
            del self._peers[oldest]

    def waits(self, peer: str, now: float) -> float:
        """Return for how many seconds a peer must not be tried yet; 0 if it may be tried."""
        known = self._peers.get(peer)
        return max(0.0, known.until - now) if known is not None else 0.0

    def avoids(self, peer: str) -> bool:
        """Return whether channels should be placed elsewhere, although the link is up."""
        known = self._peers.get(peer)
        return known is not None and known.avoided

    def sound(self, peer: str, up_seconds: float) -> bool:
        """Return whether a link has just become stable after repeated failures, and forget these."""
        if up_seconds < SOUND_SECONDS or peer not in self._peers:
            return False
        return self._peers.pop(peer).failures > 1

    def __bool__(self) -> bool:
        """Return whether any failures are remembered."""
        return bool(self._peers)
