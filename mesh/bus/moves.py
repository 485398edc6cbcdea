"""Keeps the order of one origin's messages while some of its topics move to another proxy.

A publisher that takes a proxy into use sends a marker through every proxy: "my messages above this number
may come other ways than before". Until the markers of all old ways have come, everything sent before them
may be on its way yet, so what is above that number waits; a quarter of a second at most.
"""

import asyncio
from collections.abc import Callable

import msgspec

from mesh.bus.frames import Header
from mesh.errors import WireError

WAIT_SECONDS = 0.25
REMEMBERED_ORIGINS = 10_000

Deliver = Callable[[str, Header, bytes], None]


class Marker(msgspec.Struct, array_like=True, frozen=True):
    """The payload of a MOVE; its header's sequence is the number in question.

    Attributes:
        ways: how many proxies the origin used before and uses on.
        old: whether this marker came through one of them.
    """

    ways: int
    old: bool


_decode = msgspec.msgpack.Decoder(Marker).decode


class _Move:
    __slots__ = ("boundary", "came", "held", "timer")

    def __init__(self, boundary: int, timer: asyncio.TimerHandle) -> None:
        self.boundary = boundary
        self.timer = timer
        self.came = 0
        self.held: list[tuple[str, Header, bytes]] = []


class Moves:
    """The moves under way.

    Args:
        deliver: takes what waited, in the order it came.

    Attributes:
        under_way: by origin; while it is empty nobody need ask.
    """

    def __init__(self, deliver: Deliver) -> None:
        self.under_way: dict[str, _Move] = {}
        self._deliver = deliver
        self._done: dict[str, int] = {}

    def marker(self, header: Header, data: bytes) -> None:
        """A marker has come.

        Raises:
            WireError: if it is none.
        """
        try:
            marker = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"not a marker of a move: {error}") from None
        origin, boundary = header.origin, header.sequence
        if boundary <= self._done.get(origin, 0):
            return
        move = self.under_way.get(origin)
        if move is None or move.boundary < boundary:
            if move is not None:
                self._finish(origin)
            timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._finish, origin)
            move = self.under_way[origin] = _Move(boundary, timer)
        move.came += marker.old
        if move.came >= marker.ways:
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
            move.timer.cancel()
        self.under_way.clear()

    def _finish(self, origin: str) -> None:
        move = self.under_way.pop(origin)
        move.timer.cancel()
        if len(self._done) >= REMEMBERED_ORIGINS:
            self._done.clear()
        self._done[origin] = move.boundary
        for topic, header, data in move.held:
            self._deliver(topic, header, data)
