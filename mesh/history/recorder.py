"""The contract of a worker's recorder, which gives the kept broadcasts of its topics their positions.

The worker publishes its channels' broadcasts through it, and passes on every kept broadcast that it hears.
memory_recorder.py keeps the logs in memory, redis_recorder.py in Redis.
"""

from typing import Protocol

from mesh.bus.calls import CallHandler
from mesh.bus.contract import Bus
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Received
from mesh.history.contract import UNREADABLE, Page, Query
from mesh.protocol.messages import Sender


class Recorder(Protocol):
    """Records the topics of a worker that have a history. MemoryRecorder and RedisRecorder implement it.

    Attributes:
        hears_own: whether `on_recorded` must be called for what this worker has recorded itself.
    """

    hears_own: bool

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Publish a broadcast of this worker, recorded if it is kept; return its number on the bus."""

    def on_broadcast(self, topic: str, header: Received, data: bytes) -> bool:
        """Handle a broadcast from the bus; return whether it is kept: then it comes again, recorded."""

    def on_recorded(self, topic: str, header: Received, data: bytes) -> None:
        """Handle a recorded broadcast, or a claim, from the bus."""

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history; UNREADABLE if it cannot be read in time."""

    async def forget(self, topic: str) -> Page:
        """Remove a topic's history, and return its new position; UNREADABLE if that is not possible."""

    def announced(self, announcement: Announcement) -> None:
        """Take note of the announcement of a live node."""

    def lost(self, node: str) -> None:
        """A node was reported lost."""

    def gone(self, node: str) -> None:
        """A node has stopped or died."""

    def reported_lost(self) -> None:
        """This worker was reported lost."""

    def answer_to(self, call: str) -> CallHandler | None:
        """Return what answers the calls of this name between recorders; None for other calls."""

    def start(self) -> None:
        """Begin, once this worker can receive."""

    async def hand_over(self, seconds: float) -> None:
        """This worker stops: let others record its topics."""

    async def aclose(self) -> None:
        """Stop."""

    def problem(self) -> str | None:
        """Return why histories cannot be used now, for `/readyz`; None if they can."""

    def gauges(self) -> dict[str, float]:
        """Return values for `/metrics`."""


class NoRecorder:
    """For an application without histories. Implements Recorder.

    Args:
        bus: publishes broadcasts.
    """

    hears_own = False

    def __init__(self, bus: Bus) -> None:
        self.publish = bus.publish

    def on_broadcast(self, topic: str, header: Received, data: bytes) -> bool:
        """Return False: nothing is kept."""
        return False

    def on_recorded(self, topic: str, header: Received, data: bytes) -> None:
        """No effect: another version of the application keeps it."""

    async def read(self, query: Query) -> Page:
        """Return UNREADABLE: there is no history."""
        return UNREADABLE

    async def forget(self, topic: str) -> Page:
        """Return UNREADABLE: there is no history."""
        return UNREADABLE

    def announced(self, announcement: Announcement) -> None:
        """No effect."""

    def lost(self, node: str) -> None:
        """No effect."""

    def gone(self, node: str) -> None:
        """No effect."""

    def reported_lost(self) -> None:
        """No effect."""

    def answer_to(self, call: str) -> CallHandler | None:
        """Return None."""
        return None

    def start(self) -> None:
        """No effect."""

    async def hand_over(self, seconds: float) -> None:
        """No effect."""

    async def aclose(self) -> None:
        """No effect."""

    def problem(self) -> str | None:
        """Return None."""
        return None

    def gauges(self) -> dict[str, float]:
        """Return that there is nothing."""
        return {"history_topics": 0, "history_bytes": 0, "history_unrecorded": 0}
