"""Keeps the order of one origin's messages while some of its topics move to another proxy.

A publisher that takes a proxy into use sends a marker through every proxy: "my messages above this number
may come other ways than before". Until the markers of all old ways have come, everything sent before them
may be on its way yet, so what is above that number waits. If an old way is lost meanwhile, its messages
come again, and behind them the next marker, through all ways that are left: then that one is waited for.
Markers are repeated for a while, for nodes that have just come.
"""

import asyncio
from collections.abc import Callable

import msgspec

from mesh.bus.decoding import decoder
from mesh.bus.frames import Header
from mesh.telemetry import counters, get_logger

log = get_logger("mesh.bus")

REMEMBERED_ORIGINS = 10_000

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


decode = decoder(Marker, "a marker of a move")
"""Reads the payload of a MOVE. Raises WireError for anything else."""


class _Move:
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


class Moves:
    """The moves under way.

    Args:
        deliver: takes what waited, in the order it was published.
        wait_seconds: for a marker, at most; more than a proxy that does not answer is used.

    Attributes:
        under_way: by origin; while it is empty nobody need ask.
    """

    def __init__(self, deliver: Deliver, wait_seconds: float) -> None:
        self.under_way: dict[str, _Move] = {}
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
        move = self.under_way.get(origin)
        if move is None:
            move = self.under_way[origin] = _Move(boundary)
        move.boundary = min(move.boundary, boundary)
        if boundary > move.latest:
            move.latest = boundary
            move.came.clear()
            move.stop_timer()
            loop = asyncio.get_running_loop()
            move.timer = loop.call_later(self._wait_seconds, self._expired, origin)
        if boundary < move.latest:
            return
        if marker.old:
            move.came.add(marker.way)
        if len(move.came) >= marker.ways:
            self._finish(origin)

    def hold(self, topic: str, header: Header, data: bytes) -> bool:
        """Whether a message has to wait, and does now."""
        move = self.under_way.get(header.origin)
        if move is None or header.sequence <= move.boundary:
            return False
        move.held.append((topic, header, data))
        return True

    def close(self) -> None:
        """Forget what waits."""
        for move in self.under_way.values():
            move.stop_timer()
        self.under_way.clear()

    def _expired(self, origin: str) -> None:
        counters.count("bus_moves_expired")
        held = len(self.under_way[origin].held)
        log.warning("messages of a node may be out of order", origin=origin, messages=held)
        self._finish(origin)

    def _finish(self, origin: str) -> None:
        move = self.under_way.pop(origin)
        move.stop_timer()
        if len(self._done) >= REMEMBERED_ORIGINS:
            self._done.clear()
        self._done[origin] = move.latest
        for topic, header, data in sorted(move.held, key=_number):
            self._deliver(topic, header, data)


def _number(message: tuple[str, Header, bytes]) -> int:
    return message[1].sequence
