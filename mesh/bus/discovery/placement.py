"""The live nodes, the routes that they serve, and the worker that a topic belongs to.

Nodes announce themselves on the bus. The worker for a topic is chosen by rendezvous hashing, so that all
gateways choose the same one without asking each other, and a worker that starts or stops moves only its own
share of the topics.
"""

from collections.abc import Collection
from hashlib import blake2b
from heapq import nlargest
from typing import Literal

import msgspec

from mesh.bus.decoding import decoder
from mesh.errors import WireError
from mesh.protocol.versions import Versions

VERSION = 1


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What a node announces, as a msgpack map; unknown keys are ignored.

    Attributes:
        version: the version of this layout.
        node: the node's id, new with every start.
        kind: "gateway" or "worker".
        state: "up"; "down" when the node stops; "lost" in another node's report that its link to it ended.
        link: the address on which a worker accepts links.
        routes: the (mount, pattern) pairs that a worker serves.
        history: the (mount, pattern) pairs whose topics a worker can record.
        key: a worker's public CURVE key, in Z85, if it has one.
        machine: the worker's machine, if `link` can be reached only there (mesh/link/reach.py).
        proxies: the proxies that the node receives from; None if it does not announce them.
        uses: the proxies that the node publishes through; None if it does not announce them.
        urls: the addresses of a gateway's listeners.
        versions: the versions of bus headers that the node reads; None: 1 only.
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
    history: tuple[tuple[str, str], ...] = ()

    @property
    def reads(self) -> Versions:
        """The versions of bus headers that the node reads."""
        return self.versions or Versions(1, 1)


encode = msgspec.msgpack.Encoder().encode
_decode = decoder(Announcement, "an announcement")


def decode(data: bytes) -> Announcement:
    """Decode an announcement.

    Raises:
        WireError: if it is not an announcement, or of another version.
    """
    announcement = _decode(data)
    if announcement.version != VERSION:
        raise WireError(f"announcement of version {announcement.version}; want {VERSION}")
    return announcement


class Placement:
    """The nodes with recent announcements. Time is an argument, in seconds of any one clock."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[Announcement, float]] = {}

    def record(self, announcement: Announcement, now: float) -> bool:
        """Record an announcement; return whether the node was unknown before."""
        new = announcement.node not in self._nodes
        self._nodes[announcement.node] = (announcement, now)
        return new

    def expire(self, now: float, silence_seconds: float) -> list[Announcement]:
        """Remove and return the nodes that have been silent for longer than `silence_seconds`."""
        silent = [
            announcement
            for announcement, received_at in self._nodes.values()
            if now - received_at > silence_seconds
        ]
        for announcement in silent:
            del self._nodes[announcement.node]
        return silent

    def forget(self, node: str) -> None:
        """Remove a node that is known to have stopped."""
        self._nodes.pop(node, None)

    def get(self, node: str) -> Announcement | None:
        """Return the last announcement of a node, or None."""
        entry = self._nodes.get(node)
        return entry[0] if entry else None

    def nodes(self) -> list[Announcement]:
        """Return the announcements of all live nodes."""
        return [announcement for announcement, _ in self._nodes.values()]


def ranked(key: str, workers: Collection[str], count: int = 2) -> list[str]:
    """Return the first workers for a key, in the order in which `choose` would choose them."""
    encoded = key.encode()
    return nlargest(count, workers, key=lambda worker: _weight(encoded, worker))


def choose(key: str, workers: Collection[str]) -> str | None:
    """Return the worker that `key` (a topic) belongs to: the one with the highest hash of key and id."""
    if len(workers) < 2:
        return next(iter(workers), None)
    encoded = key.encode()
    return max(workers, key=lambda worker: _weight(encoded, worker))


def _weight(key: bytes, worker: str) -> bytes:
    # Keyed by the worker, so that no separator is needed and no two pairs collide.
    return blake2b(key, digest_size=8, key=worker.encode()[:64]).digest()
