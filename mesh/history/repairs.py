"""Asks for the log of a topic again when the copy of it here stays incomplete.

A worker that was frozen, or cut off from a proxy, may have missed recorded broadcasts. It finds out with
the next one, because an offset is missing. Without the missing ones its copy could not continue the epoch.
"""

from mesh.bus.calls import Calls
from mesh.history import messages
from mesh.history.messages import Incomplete
from mesh.history.peers import Peers
from mesh.history.records import Records

REPAIR_SECONDS = 0.5
"""How long a copy may wait for entries that come late, and for the log that was asked for."""
MAX_TOPICS = 500
"""The most topics in one message."""


class Repairs:
    """Repairs the copies of one worker.

    Args:
        node: the id of this worker.
        calls: reaches the recorders.
        records: the logs of this worker.
        peers: the live workers.
    """

    def __init__(self, node: str, calls: Calls, records: Records, peers: Peers) -> None:
        self._node = node
        self._calls = calls
        self._records = records
        self._peers = peers

    def tick(self, now: float) -> None:
        """Ask for the copies that have been incomplete for REPAIR_SECONDS, and again after that time."""
        incomplete, due = self._records.incomplete, dict[str, list[str]]()
        for topic, since in list(incomplete.items()):
            known = self._records.store.get(topic)
            if known is None or known.complete or topic in self._records.recording:
                del incomplete[topic]
            elif now - since >= REPAIR_SECONDS and self._peers.is_live(known.recorder):
                incomplete[topic] = now
                due.setdefault(known.recorder, []).append(topic)
        for recorder, topics in due.items():
            data = messages.encode(Incomplete(self._node, topics[:MAX_TOPICS]))
            self._calls.cast(recorder, messages.INCOMPLETE, data)

    def asked(self, asked: Incomplete) -> None:
        """Another worker has no complete copy of topics that this one records."""
        for topic in asked.topics:
            self._records.unconfirm(topic, asked.worker)
