"""Records the histories of a channel case: its worker is the only one, and records every topic at once.

The logs and their limits are those of a worker (mesh/history). What decides which worker records a topic
(mesh/history/succession.py) is left out: it needs a timer and a task, which would run between the steps of
a test.
"""

import asyncio

from mesh.app.endpoint import Endpoint
from mesh.app.history import KeptTopics
from mesh.bus.contract import Bus
from mesh.history.contract import UNREADABLE, Page, Query
from mesh.history.memory_store import MemoryStore
from mesh.history.recorder import NoRecorder
from mesh.history.records import Records
from mesh.protocol.messages import Sender
from mesh.settings import build


class LoneRecorder(NoRecorder):
    """Records all kept broadcasts that are published through it. Implements Recorder.

    Args:
        bus: publishes what is recorded.
        kept: the topics that have a history.
        max_bytes: the most bytes of memory for all histories.
    """

    def __init__(self, bus: Bus, kept: KeptTopics, max_bytes: int) -> None:
        super().__init__(bus)
        self._publish = bus.publish
        self._kept = kept
        self._store = MemoryStore(bus.node, max_bytes)
        self._records = Records(bus, self._store, _now, _nobody_waits)
        self.publish = self._publish_recorded

    def _publish_recorded(
        self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None
    ) -> int:
        """Publish a broadcast, recorded if it is kept; return its number on the bus."""
        if not self._kept.keeps(topic, event):
            return self._publish(topic, event, codec, data, sender)
        self._begin(topic)
        return self._records.record_own(topic, event, codec, data, sender)

    def _begin(self, topic: str) -> bool:
        """Begin to record a topic, unless it is recorded; return False if it has no history."""
        route = self._kept.find(topic)
        if route is None:
            return False
        if topic not in self._records.recording:
            self._records.begin(topic, route.history)
        return True

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history."""
        return self._store.read_now(query) if self._begin(query.topic) else UNREADABLE

    async def forget(self, topic: str) -> Page:
        """Remove a topic's history, and return its new position."""
        if not self._begin(topic):
            return UNREADABLE
        head = self._records.forget(topic)
        return Page(head.epoch, head.offset, True, [])


def lone_recorder(bus: Bus, endpoint: Endpoint) -> LoneRecorder | None:
    """Return the recorder of an application; None if no class has a history.

    Whatever the application's settings say, the store is in memory.
    """
    if not endpoint.kept_topics:
        return None
    own = endpoint.settings.get("history", {})
    limits = {name: value for name, value in own.items() if name == "max_bytes"}
    return LoneRecorder(bus, endpoint.kept_topics, build({"history": limits}).history.max_bytes)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _nobody_waits() -> None:
    """Called when a topic is recorded: no query waits for that."""
