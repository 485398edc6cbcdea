"""Keeps each topic in order while it moves from one proxy to another.

A node publishes a topic through one proxy at a time, and one connection keeps the order (ZeroMQ RFC 29).
When the proxies in use change, topics are spread over them again, and of two messages on one topic that
took different proxies the second may arrive first. A marker is what keeps a receiver from handling it.

**The invariant.** A publisher that changes its ways takes a number of its own, the *boundary*, and sends a
marker with it through every proxy it uses: "what is above this number may come another way than before". A
receiver handles a message above the boundary only when everything below it has arrived or is lost for good.

**The proof.** A marker is sent behind all earlier messages of its connection, and proxies pass on in
order. So the marker that came through a proxy proves that everything sent through it below the
boundary. `ways` is how many proxies were used before and are used still. When as many markers with `old`
have come, by different ways, nothing below the boundary can follow but what a lost proxy held; and that is
another case:

- *A proxy comes into use.* Markers go through those kept (`old`) and those gained. The latter are not
  waited for. They are there so that a receiver knows of the boundary before the first message on the new
  way.
- *A proxy is lost.* What it may have lost is sent again through the others, by number, in front of newer
  messages. When all of that is sent, the next marker goes through all proxies that are left. A receiver
  that waits for the lost proxy's marker now waits for these instead: the latest boundary counts, and what
  is above the first one waits for it.

**What is bounded.** A receiver waits for `bus.proxy_timeout_seconds` and three seconds more; within that
time a lost proxy is given up and what it held is sent again. After it, order may be violated, which is
logged and counted (`bus_moves_expired`). Markers are repeated for two seconds, for nodes that did not hear
all proxies yet; one that is not above what is settled already has no effect.

The publishing half is Markers, the receiving half is Reroutes.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from mesh import topics
from mesh.bus.decoding import decoder
from mesh.bus.frames import Header
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.telemetry import counters, get_logger

log = get_logger("mesh.bus")

REMEMBERED_ORIGINS = 10_000
REPEATED_SECONDS = 2.0
"""How long a marker is repeated, for nodes that were not connected to all proxies when it was sent."""

Deliver = Callable[[str, Header, bytes], None]


class Marker(msgspec.Struct, array_like=True, frozen=True):
    """The payload of a MOVE; its header's sequence is the number in question.

    Attributes:
        ways: how many proxies the origin used before and uses on.
        old: whether this marker came through one of them.
        way: which of the origin's proxies it came through.
    """

    ways: int
    old: bool
    way: int


_encode = msgspec.msgpack.Encoder().encode
decode = decoder(Marker, "a marker of a move")
"""Reads the payload of a MOVE. Raises WireError for anything else."""


class _Reroute:
    """What is above `boundary` waits for all markers of `latest`."""

    __slots__ = ("boundary", "came", "held", "latest", "timer")

    def __init__(self, boundary: int) -> None:
        self.boundary = boundary
        self.latest = 0
        self.timer: asyncio.TimerHandle | None = None
        self.came: set[int] = set()
        self.held: list[tuple[str, Header, bytes]] = []

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Reroutes:
    """The moves under way.

    Args:
        deliver: takes what waited, in the order it was published.
        wait_seconds: for a marker, at most; more than a proxy that does not answer is used.

    Attributes:
        under_way: by origin; while it is empty nobody need ask.
    """

    def __init__(self, deliver: Deliver, wait_seconds: float) -> None:
        self.under_way: dict[str, _Reroute] = {}
        self._deliver = deliver
        self._wait_seconds = wait_seconds
        self._done: dict[str, int] = {}

    def marker(self, header: Header, data: bytes) -> None:
        """A marker has come.

        Raises:
            WireError: if it is none.
        """
        marker = decode(data)
        origin, boundary = header.origin, header.sequence
        if boundary <= self._done.get(origin, 0):
            return
        reroute = self.under_way.get(origin)
        if reroute is None:
            reroute = self.under_way[origin] = _Reroute(boundary)
        reroute.boundary = min(reroute.boundary, boundary)
        if boundary > reroute.latest:
            reroute.latest = boundary
            reroute.came.clear()
            reroute.stop_timer()
            loop = asyncio.get_running_loop()
            reroute.timer = loop.call_later(self._wait_seconds, self._expired, origin)
        if boundary < reroute.latest:
            return
        if marker.old:
            reroute.came.add(marker.way)
        if len(reroute.came) >= marker.ways:
            self._finish(origin)

    def hold(self, topic: str, header: Header, data: bytes) -> bool:
        """Whether a message has to wait, and does now."""
        reroute = self.under_way.get(header.origin)
        if reroute is None or header.sequence <= reroute.boundary:
            return False
        reroute.held.append((topic, header, data))
        return True

    def close(self) -> None:
        """Forget what waits."""
        for reroute in self.under_way.values():
            reroute.stop_timer()
        self.under_way.clear()

    def _expired(self, origin: str) -> None:
        counters.count("bus_moves_expired")
        held = len(self.under_way[origin].held)
        log.warning("messages of a node may be out of order", origin=origin, messages=held)
        self._finish(origin)

    def _finish(self, origin: str) -> None:
        reroute = self.under_way.pop(origin)
        reroute.stop_timer()
        if len(self._done) >= REMEMBERED_ORIGINS:
            self._done.clear()
        self._done[origin] = reroute.latest
        for topic, header, data in sorted(reroute.held, key=_number):
            self._deliver(topic, header, data)


def _number(message: tuple[str, Header, bytes]) -> int:
    return message[1].sequence


class Markers:
    """The latest markers of a publisher, one for each proxy in use."""

    def __init__(self) -> None:
        self._frames: list[tuple[ProxyConnection, list[bytes]]] = []
        self._until = 0.0

    def send(
        self, header: bytes, kept: Sequence[ProxyConnection], gained: Sequence[ProxyConnection], now: float
    ) -> None:
        """Through every proxy: what follows `header`'s number waits for what still comes through `kept`."""
        topic = topics.exact(topics.MOVES)
        self._frames = [
            (connection, [topic, header, _encode(Marker(len(kept), connection in kept, connection.index))])
            for connection in (*kept, *gained)
        ]
        self._until = now + REPEATED_SECONDS
        self._send()

    def repeat(self, now: float) -> None:
        """Send the latest again, for a while."""
        if self._frames:
            self._send()
            if now > self._until:
                self._frames = []

    def _send(self) -> None:
        for connection, frames in self._frames:
            connection.send(frames)
