"""The markers with which a publisher tells receivers that topics move (mesh/bus/moves.py reads them)."""

from collections.abc import Sequence

import msgspec

from mesh import topics
from mesh.bus.lane import Lane
from mesh.bus.moves import Marker

REPEATED_SECONDS = 2.0
"""For so long a marker is repeated, for nodes that did not hear all proxies yet when it came."""

_encode = msgspec.msgpack.Encoder().encode


class Markers:
    """The latest markers of a publisher, one for each proxy in use."""

    def __init__(self) -> None:
        self._frames: list[tuple[Lane, list[bytes]]] = []
        self._until = 0.0

    def send(self, header: bytes, kept: Sequence[Lane], gained: Sequence[Lane], now: float) -> None:
        """Through every proxy: what follows `header`'s number waits for what still comes through `kept`."""
        topic = topics.exact(topics.MOVES)
        self._frames = [
            (lane, [topic, header, _encode(Marker(len(kept), lane in kept, lane.index))])
            for lane in (*kept, *gained)
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
        for lane, frames in self._frames:
            lane.send(frames)
