"""Keeps the messages of each topic in order while the topic moves from one proxy to another.

A node publishes a topic through one proxy at a time, and one connection preserves the order (ZeroMQ RFC
29). When the set of proxies in use changes, topics are redistributed, and of two messages on one topic that
used different proxies the second may arrive first. Markers let a receiver detect this and hold the second
message.

**The invariant.** A publisher that changes its proxies takes a number for itself, the *boundary*, and sends
a marker with this number through every proxy it uses: "messages above this number may use another path than
before". A receiver handles a message above the boundary only after everything below it has arrived or is
certainly lost.

**The proof.** A marker is sent after all earlier messages of its connection, and a proxy forwards messages
in order. So a marker that came through a proxy proves that everything sent through this proxy below the
boundary has arrived. `kept_proxies` is the number of proxies that were used before and are still used. When
that many markers with `kept` have arrived, through different proxies, the only messages below the boundary
that can still be missing are those of a lost proxy, which is the second case:

- *A proxy is added.* Markers go through the proxies that are kept (`kept`) and those that are added. The
  latter are not waited for; they tell a receiver of the boundary before the first message on the new path.
- *A proxy is lost.* The messages that it may have lost are sent again through the others, with their
  numbers, before newer messages. When all of them are sent, the next marker goes through all remaining
  proxies. A receiver that waits for the lost proxy's marker now waits for these markers instead: the latest
  boundary decides when to continue, and the messages above the first one are held until then.

**What is bounded.** A receiver waits for at most `bus.proxy_timeout_seconds` plus three seconds; within
that time a lost proxy is given up and its messages are sent again. Each higher boundary prolongs the wait,
up to MAX_WAITS times that long in all. At most MAX_HELD messages and MAX_HELD_BYTES of all origins together
are held; above this, the origin that has the most is no longer waited for. After that, messages may be
delivered out of order, which is logged and counted (`bus_moves_expired`). Markers are repeated for two
seconds, for nodes that were not connected to all proxies yet; a marker that is not above the last completed
boundary has no effect.

Markers is the publishing side, Reroutes the receiving side.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from mesh.app import topics
from mesh.bus.decoding import decoder
from mesh.bus.frames import Header, Received
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.telemetry import Complaints, get_logger

_ended_early = Complaints(get_logger(__name__), "messages of a node may be out of order")

REMEMBERED_ORIGINS = 10_000
"""The most origins whose moves are in progress, or whose last completed boundary is remembered."""
MAX_WAITS = 8
"""How many times `wait_seconds` a move may take in all: a node may lose several proxies one by one."""
MAX_HELD = 500_000
"""The most messages of all origins that are held."""
MAX_HELD_BYTES = 256_000_000
"""The most bytes of their payloads."""
MAX_PROXIES = 1_000
"""The most proxies that a marker may require."""
REPEATED_SECONDS = 2.0
"""How long a marker is repeated, for nodes that were not connected to all proxies when it was sent."""

Deliver = Callable[[str, Received, bytes], None]


class Marker(msgspec.Struct, array_like=True, frozen=True):
    """The payload of a MOVE; the boundary is the sequence in its header.

    Attributes:
        kept_proxies: the number of proxies that the origin used before and still uses.
        kept: whether this marker was sent through one of them.
        proxy: the index of the proxy that this marker was sent through.
    """

    kept_proxies: Annotated[int, msgspec.Meta(ge=0, le=MAX_PROXIES)]
    kept: bool
    proxy: int


_encode = msgspec.msgpack.Encoder().encode
decode = decoder(Marker, "a marker of a move")
"""Reads the payload of a MOVE. Raises WireError for anything else."""


class _Reroute:
    """The messages of one origin above `boundary`, held until all markers of `latest` have arrived."""

    __slots__ = ("arrived", "boundary", "bytes", "deadline", "held", "latest", "timer")

    def __init__(self, boundary: int, deadline: float) -> None:
        self.boundary = boundary
        self.deadline = deadline
        self.bytes = 0
        self.latest = 0
        self.timer: asyncio.TimerHandle | None = None
        self.arrived: set[int] = set()
        self.held: list[tuple[str, Received, bytes]] = []

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Reroutes:
    """The moves in progress.

    Args:
        deliver: called with the held messages, in the order in which they were published.
        wait_seconds: the longest time to wait for a marker; longer than a proxy that does not answer is
            used.

    Attributes:
        in_progress: by origin; while it is empty, `hold` need not be called.
    """

    def __init__(self, deliver: Deliver, wait_seconds: float) -> None:
        self.in_progress: dict[str, _Reroute] = {}
        self._deliver = deliver
        self._wait_seconds = wait_seconds
        self._completed: dict[str, int] = {}
        self._held = 0
        self._held_bytes = 0

    def handle_marker(self, header: Header, data: bytes) -> None:
        """Handle a marker.

        Raises:
            WireError: if it cannot be decoded.
        """
        marker = decode(data)
        origin, boundary = header.origin, header.sequence
        if boundary <= self._completed.get(origin, 0):
            return
        reroute = self.in_progress.get(origin)
        if reroute is None:
            if len(self.in_progress) >= REMEMBERED_ORIGINS:
                _ended_early.about(
                    origin, "bus_moves_expired", "too many nodes move their topics", messages=0
                )
                return
            deadline = asyncio.get_running_loop().time() + MAX_WAITS * self._wait_seconds
            reroute = self.in_progress[origin] = _Reroute(boundary, deadline)
        reroute.boundary = min(reroute.boundary, boundary)
        if boundary > reroute.latest:
            self._wait_for(origin, reroute, boundary)
        if boundary < reroute.latest:
            return
        if marker.kept:
            reroute.arrived.add(marker.proxy)
        if len(reroute.arrived) >= marker.kept_proxies:
            self._finish(origin)

    def _wait_for(self, origin: str, reroute: _Reroute, boundary: int) -> None:
        reroute.latest = boundary
        reroute.arrived.clear()
        reroute.stop_timer()
        loop = asyncio.get_running_loop()
        until = min(loop.time() + self._wait_seconds, reroute.deadline)
        reroute.timer = loop.call_at(until, self._end_early, origin, "their markers did not arrive in time")

    def hold(self, topic: str, header: Received, data: bytes) -> bool:
        """Hold a message that must wait, and return whether it does."""
        reroute = self.in_progress.get(header.origin)
        if reroute is None or header.sequence <= reroute.boundary:
            return False
        reroute.held.append((topic, header, data))
        reroute.bytes += len(data)
        self._held += 1
        self._held_bytes += len(data)
        if self._held > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
            self._end_largest()
        return True

    def close(self) -> None:
        """Discard held messages."""
        for reroute in self.in_progress.values():
            reroute.stop_timer()
        self.in_progress.clear()

    def _end_largest(self) -> None:
        by_bytes = self._held_bytes > MAX_HELD_BYTES

        def size(origin: str) -> int:
            reroute = self.in_progress[origin]
            return reroute.bytes if by_bytes else len(reroute.held)

        self._end_early(max(self.in_progress, key=size), "too many messages are held")

    def _end_early(self, origin: str, reason: str) -> None:
        held = len(self.in_progress[origin].held)
        _ended_early.about(origin, "bus_moves_expired", reason, messages=held)
        self._finish(origin)

    def _finish(self, origin: str) -> None:
        reroute = self.in_progress.pop(origin)
        reroute.stop_timer()
        self._held -= len(reroute.held)
        self._held_bytes -= reroute.bytes
        if len(self._completed) >= REMEMBERED_ORIGINS:
            self._completed.clear()
        self._completed[origin] = reroute.latest
        for topic, header, data in sorted(reroute.held, key=_sequence):
            self._deliver(topic, header, data)


def _sequence(message: tuple[str, Received, bytes]) -> int:
    return message[1].sequence


class Markers:
    """The latest markers of a publisher, one for each proxy in use."""

    def __init__(self) -> None:
        self._frames: list[tuple[ProxyConnection, list[bytes]]] = []
        self._until = 0.0

    def send(
        self, header: bytes, kept: Sequence[ProxyConnection], added: Sequence[ProxyConnection], now: float
    ) -> None:
        """Send a marker through every proxy: later messages are held until those through `kept` arrive."""
        topic = topics.exact(topics.MOVES)
        self._frames = [
            (connection, [topic, header, _encode(Marker(len(kept), connection in kept, connection.index))])
            for connection in (*kept, *added)
        ]
        self._until = now + REPEATED_SECONDS
        self._send()

    def repeat(self, now: float) -> None:
        """Send the latest markers again, until REPEATED_SECONDS have passed."""
        if self._frames:
            self._send()
            if now > self._until:
                self._frames = []

    def _send(self) -> None:
        for connection, frames in self._frames:
            connection.send(frames)
