"""Gives the logs of topics to the workers that should record them, or keep the copies.

succession.py decides when. A copy is given in two parts: the log, and what was recorded until the receiver
had it; from then on the receiver adds what it hears. A topic that another worker should record is not
recorded here any more from the moment at which its log is sent.
"""

import asyncio
from collections.abc import Iterator

from mesh.app.history import KeptTopics
from mesh.bus.calls import Calls
from mesh.errors import WireError
from mesh.history import messages
from mesh.history.messages import COPY, RECORD, Give, Release
from mesh.history.peers import Peers
from mesh.history.records import Records
from mesh.history.snapshot import Snapshot

COPY_SECONDS = 2.0
"""How long to wait until a worker has taken a copy; it is offered again."""
RECORD_SECONDS = 5.0
"""The same for topics that it should record. Longer, because nobody records them meanwhile, and two workers
would if the answer came after that."""
GIVE_BYTES = 256_000
GIVE_TOPICS = 500
"""The limits of one call."""

Logs = list[tuple[str, Snapshot]]


class Handovers:
    """Gives topics away.

    Args:
        node: the id of this worker.
        calls: reaches the other workers.
        kept: the topics that have a history.
        records: the logs of this worker.
        peers: the workers that can record topics.
    """

    def __init__(self, node: str, calls: Calls, kept: KeptTopics, records: Records, peers: Peers) -> None:
        self._node = node
        self._calls = calls
        self._kept = kept
        self._records = records
        self._peers = peers

    async def give(self, topics: list[str]) -> None:
        """Give topics to the workers that should record them, or keep their copies."""
        due: dict[tuple[str, int], list[str]] = {}
        for topic in topics:
            target = self._due(topic)
            if target is not None:
                due.setdefault(target, []).append(topic)
        await asyncio.gather(*(self._give_all(*target, due[target]) for target in due))

    def _due(self, topic: str) -> tuple[str, int] | None:
        """Return to whom a topic that is recorded here must be given, and in which role."""
        route = self._kept.find(topic)
        if route is None or topic not in self._records.recording:
            return None
        best = self._peers.ranked(route.key, topic)
        others = [each for each in best if each != self._node]
        if not others:
            self._records.unconfirmed.pop(topic, None)
            return None
        if best[0] != self._node:
            return best[0], RECORD
        if self._records.recording[topic] == others[0]:
            self._records.unconfirmed.pop(topic, None)
            return None
        return others[0], COPY

    async def _give_all(self, node: str, role: int, topics: list[str]) -> None:
        for logs in self._in_pieces(topics, role):
            if role == RECORD:
                await self._hand_over(node, logs)
            else:
                await self._copy(node, logs)

    def _in_pieces(self, topics: list[str], role: int) -> Iterator[Logs]:
        piece: Logs = []
        size = 0
        for topic in topics:
            known = self._records.store.get(topic)
            if known is None or topic not in self._records.recording:
                continue
            if role == RECORD:
                self._records.end(topic)
            piece.append((topic, known.snapshot()))
            size += known.memory
            if size > GIVE_BYTES or len(piece) >= GIVE_TOPICS:
                yield piece
                piece, size = [], 0
        if piece:
            yield piece

    async def _copy(self, node: str, logs: Logs) -> None:
        if not await self._offer(node, COPY, logs):
            return
        newer = []
        for topic, given in logs:
            known = self._records.store.get(topic)
            if known is not None and (known.epoch, known.offset) != (given.epoch, given.offset):
                newer.append((topic, known.snapshot(given.offset if known.epoch == given.epoch else 0)))
        if newer and not await self._offer(node, COPY, newer):
            return
        # In a new term, or with another second, further workers may have copies.
        released = [
            topic
            for topic, given in logs
            if given.term > 1 or self._records.recording.get(topic) is not None
        ]
        for topic, _ in logs:
            self._records.confirm(topic, node)
        data = messages.encode(Release(self._node, released))
        for other in self._peers.others if released else ():
            if other != node:
                self._calls.cast(other, messages.RELEASE, data)

    async def _hand_over(self, node: str, logs: Logs) -> None:
        accepted = await self._offer(node, RECORD, logs)
        for topic, given in logs:
            known, route = self._records.store.get(topic), self._kept.find(topic)
            if known is None or route is None or topic in self._records.recording:
                continue
            if accepted:
                self._records.handed_over(topic, node)
            elif (known.recorder, known.term) == (self._node, given.term):  # nobody has claimed it
                self._records.begin(topic, route.history)

    async def _offer(self, node: str, role: int, logs: Logs) -> bool:
        try:
            data = messages.encode(Give(role, logs))
            seconds = RECORD_SECONDS if role == RECORD else COPY_SECONDS
            answer = await self._calls.call(node, messages.GIVE, data, seconds)
            accepted = messages.decode_given(answer).accepted
        except (TimeoutError, WireError):
            self._peers.answers_nothing(node)
            return False
        self._peers.spoke(node)
        if not accepted:
            self._peers.refused(node)
        return accepted
