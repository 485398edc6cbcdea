"""Encodes the messages of one tracker. An entry that cannot be encoded is left out; the others are sent.

Metas are already checked when they are tracked (mesh/worker/presence/metas.py); this is a second safeguard.
"""

import msgspec

from mesh.telemetry import counters, get_logger
from mesh.tracker import messages
from mesh.tracker.messages import Gossip, TrackerMessage, Transfer
from mesh.tracker.state import Delta, Entry

log = get_logger(__name__)


class Outgoing:
    """The messages of one tracker.

    Args:
        name: the name of the tracker.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._logged: set[int] = set()

    def encode(self, message: TrackerMessage) -> bytes:
        """Encode a message. Entries that cannot be encoded are left out, each counted and logged once."""
        try:
            return messages.encode(message)
        except messages.UNENCODABLE:
            if not isinstance(message, Gossip | Transfer) or message.delta is None:
                raise
            return messages.encode(msgspec.structs.replace(message, delta=self._encodable(message.delta)))

    def _encodable(self, delta: Delta) -> Delta:
        return msgspec.structs.replace(delta, added=tuple(filter(self._is_encodable, delta.added)))

    def _is_encodable(self, entry: Entry) -> bool:
        flaw = messages.flaw(entry)
        if flaw is not None and entry.clock not in self._logged:
            self._logged.add(entry.clock)
            counters.count("presence_diffs_unencodable")
            where = {"tracker": self._name, "topic": entry.topic[:200], "key": entry.key[:200]}
            log.error("presence that cannot be sent to other workers", **where, reason=flaw[:300])
        return flaw is None
