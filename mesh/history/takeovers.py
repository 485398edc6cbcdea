"""Takes over the topics of workers that are gone, of which this worker has a copy.

succession.py calls it after a probe has come back: what a dead worker had brought to a proxy comes before
the probe.
"""

import asyncio

from mesh.app.history import KeptTopics
from mesh.bus.contract import Bus
from mesh.bus.discovery.placement import Announcement
from mesh.history.peers import Peers
from mesh.history.records import Records
from mesh.telemetry import counters

TOPICS_PER_TURN = 100
"""The topics that are taken over before others have their turn on the event loop."""


class Takeovers:
    """Begins to record the topics of dead workers.

    Args:
        bus: knows the proxies from which this worker receives.
        kept: the topics that have a history.
        records: the logs of this worker.
        peers: the live workers, and those that are gone.
    """

    def __init__(self, bus: Bus, kept: KeptTopics, records: Records, peers: Peers) -> None:
        self._bus = bus
        self._kept = kept
        self._records = records
        self._peers = peers

    async def take_over(self) -> None:
        """Begin to record every topic whose recorder is gone."""
        records, turn = self._records, 0
        for topic in records.store:
            known, route = records.store.get(topic), self._kept.find(topic)
            if known is None or route is None or topic in records.recording:
                continue
            if known.recorder != self._bus.node and self._peers.is_live(known.recorder):
                continue
            counters.count("history_takeovers")
            records.begin(topic, route.history, self._heard_all_of(known.recorder))
            turn += 1
            if turn % TOPICS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _heard_all_of(self, node: str) -> bool:
        """Return whether everything that a dead worker had brought to a proxy has arrived."""
        last = self._peers.left.get(node)
        if last is None or last.uses is None:
            return node == self._bus.node
        here = self._bus.paths.describe(Announcement(node=self._bus.node, kind="worker")).proxies
        return here is None or set(last.uses) <= set(here)
