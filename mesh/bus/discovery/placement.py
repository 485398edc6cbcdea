"""Who is alive, who serves which route, and which worker a topic belongs to.

Nodes announce themselves on the bus; which worker takes a topic is decided by rendezvous hashing, so
that every gateway reaches the same answer without asking another, and a worker that comes or goes
moves only its own share of topics.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Literal

import msgspec

from mesh.errors import WireError
from mesh.versions import Versions

VERSION = 1


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself, as a msgpack map; unknown keys are ignored.

    Attributes:
        version: of this layout.
        node: id, new with every start.
        kind: "gateway" or "worker".
        state: "up"; "down" when it says goodbye; "lost" when another node saw its link end.
        link: a worker's address for links.
        routes: a worker's (mount, pattern) pairs.
        key: a worker's public CURVE key, in Z85, if it has one.
        machine: the worker's, where `link` can be reached on that machine only (mesh/link/reach.py).
        proxies: those it hears; None if it does not say.
        uses: those it publishes through; None if it does not say.
        urls: of a gateway's listeners.
        versions: of bus headers that it reads; None: 1 only.
    """

    version: int = VERSION
    node: str
    kind: Literal["gateway", "worker"]
    state: Literal["up", "down", "lost"] = "up"
    link: str | None = None
    routes: tuple[tuple[str, str], ...] = ()
    key: str | None = None
    machine: str | None = None
    proxies: tuple[str, ...] | None = None
    uses: tuple[str, ...] | None = None
    urls: tuple[str, ...] = ()
    versions: Versions | None = None

    @property
    def reads(self) -> Versions:
        """The versions of bus headers that it reads."""
        return self.versions or Versions(1, 1)


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Announcement).decode


def decode(data: bytes) -> Announcement:
    """Read an announcement.

    Raises:
        WireError: if it is none, or of another version.
    """
    try:
        announcement = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not an announcement: {error}") from None
    if announcement.version != VERSION:
        raise WireError(f"announcement of version {announcement.version}; want {VERSION}")
    return announcement


class Placement:
    """The nodes whose announcements are recent. Time is an argument, in seconds of any one clock."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[Announcement, float]] = {}

    def heard(self, announcement: Announcement, now: float) -> bool:
        """Take note of an announcement; returns whether the node was unknown before."""
        if announcement.state == "down":
            self._nodes.pop(announcement.node, None)
            return False
        new = announcement.node not in self._nodes
        self._nodes[announcement.node] = (announcement, now)
        return new

    def expire(self, now: float, silence_seconds: float) -> list[Announcement]:
        """Forget, and return, the nodes that have been silent for longer than that."""
        silent = [
            announcement for announcement, heard in self._nodes.values() if now - heard > silence_seconds
        ]
        for announcement in silent:
            del self._nodes[announcement.node]
        return silent

    def forget(self, node: str) -> None:
        """A node is known to be gone."""
        self._nodes.pop(node, None)

    def get(self, node: str) -> Announcement | None:
        """The last announcement of a node."""
        entry = self._nodes.get(node)
        return entry[0] if entry else None

    def nodes(self) -> list[Announcement]:
        """All nodes whose announcements are recent."""
        return [announcement for announcement, _ in self._nodes.values()]


def choose(key: str, workers: Collection[str]) -> str | None:
    """The worker that `key` (a topic) belongs to: the one with the highest hash of key and id."""
    if len(workers) < 2:
        return next(iter(workers), None)
    encoded = key.encode()
    return max(workers, key=lambda worker: _weight(encoded, worker))


def _weight(key: bytes, worker: str) -> bytes:
    # keyed by the worker: a separator-free, collision-safe combination of the two
    return blake2b(key, digest_size=8, key=worker.encode()[:64]).digest()
