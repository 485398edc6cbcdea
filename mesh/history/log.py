"""The history of one topic in memory: its entries, its position, and who records it. Pure.

**Positions.** Within an epoch, each entry has the next offset. `offset` is the last one that was given; it
stays when entries are trimmed, so that no offset is given twice.

**Recorder and term.** One worker records a topic at a time. When another one takes over it begins a new
*term*, a number above all earlier ones; if two workers begin the same term, the greater node id wins. A log
follows the latest recorder that it knows, and ignores entries of earlier ones.

**Copies.** A second worker keeps a copy: it is given the log once, and from then on adds the recorded
broadcasts that it receives. An entry that arrives ahead of its predecessors waits for them. A copy that
lacks an entry that it knows of is not complete: it answers no query as complete, and the
worker that begins to record the topic with it begins a new epoch.

The arguments named `now` are Unix time in seconds.
"""

import secrets
import string
from collections import deque
from collections.abc import Sequence
from itertools import islice

from mesh.app.history import History
from mesh.bus.frames import MAX_TERM
from mesh.history.contract import MAX_OFFSET, Entry, Head, Page, Position, Query
from mesh.history.seen import Seen
from mesh.history.selection import select
from mesh.history.snapshot import Snapshot as Snapshot

MAX_AHEAD = 1_000
"""The most entries that wait for their predecessors; a copy that misses more is not completed."""
ENTRY_BYTES = 300
"""The memory of an entry besides its payload and the name of its event."""
LOG_BYTES = 1_500
"""The memory of a log without entries."""
_LETTERS = string.ascii_lowercase
_CHARACTERS = string.ascii_lowercase + string.digits


def new_epoch() -> str:
    """Return a new epoch: 12 characters, the first a letter, so that it cannot be taken for a number."""
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_CHARACTERS) for _ in range(11))


def next_term(term: int) -> int:
    """Return the term after this one. If there is none, terms begin again (topic_position.py)."""
    return term + 1 if term < MAX_TERM else 1


class Log:
    """The history of one topic.

    Attributes:
        epoch: the epoch of the offsets.
        term: the term of the recorder.
        recorder: the id of the worker that records the topic, as far as this worker knows.
        offset: the last offset that was given.
        entries: the entries, the oldest first, without a gap; the last one has this offset.
        bytes: the size of their payloads.
        memory: the memory that the log needs, in bytes, estimated.
    """

    __slots__ = (
        "_ahead",
        "_known",
        "_seen",
        "bytes",
        "entries",
        "epoch",
        "memory",
        "offset",
        "recorder",
        "term",
    )

    def __init__(self, recorder: str, term: int = 1, epoch: str | None = None, offset: int = 0) -> None:
        self.epoch = epoch if epoch is not None else new_epoch()
        self.term = term
        self.recorder = recorder
        self.offset = offset
        self.entries: deque[Entry] = deque()
        self.bytes = 0
        self.memory = LOG_BYTES
        self._seen = Seen()
        self._ahead: dict[int, Entry] = {}
        self._known = offset

    @property
    def head(self) -> Head:
        """The newest position."""
        return Head(self.epoch, self.offset)

    @property
    def first(self) -> int:
        """The offset of the oldest entry; one above the last offset if there is none."""
        return self.entries[0].offset if self.entries else self.offset + 1

    @property
    def complete(self) -> bool:
        """Whether the log has every entry from `first` to the last one that it knows of."""
        return self._known <= self.offset

    # Recording

    def record(
        self, event: str, codec: int, data: bytes, origin: str, sequence: int, now: float
    ) -> Entry | None:
        """Give a broadcast the next offset, and return its entry; None if it was recorded before.

        The log must be complete, as it is after `begin_term`.
        """
        if self._seen.has(origin, sequence):
            return None
        self.offset = offset = self.offset + 1  # as `_add`, in fewer steps: this is a hot path
        entry = Entry(offset, event, codec, data, origin, sequence, now)
        self.entries.append(entry)
        size = len(data)
        self.bytes += size
        self.memory += size + ENTRY_BYTES + len(event)
        self._note(origin, sequence)
        return entry

    def append(self, entry: Entry) -> None:
        """Add an entry that has the next offset. Raises ValueError if it has another one."""
        if entry.offset != self.offset + 1:
            raise ValueError(f"entry {entry.offset} does not follow {self.offset}")
        self._add(entry)

    def is_recorded(self, origin: str, sequence: int) -> bool:
        """Return whether a broadcast was recorded."""
        return self._seen.has(origin, sequence)

    def begin_term(self, recorder: str) -> None:
        """Let this worker record the topic from now on, in a new epoch if the log is not complete."""
        used_up = self._next_term(recorder) or self.offset > MAX_OFFSET // 2
        if used_up or not self.complete:
            self._restart(new_epoch(), 0)

    def forget(self, recorder: str) -> None:
        """Remove all entries and begin a new epoch in a new term.

        It stays known what was recorded, so that no broadcast of the old epoch is recorded once more.
        """
        self._next_term(recorder)
        self._restart(new_epoch(), 0)

    # Following another recorder

    def supersedes(self, term: int, recorder: str) -> bool:
        """Return whether a recorder in its term counts, and not an earlier one."""
        return (term, recorder) >= (self.term, self.recorder)

    def follow(self, term: int, recorder: str, head: Position, entry: Entry | None) -> None:
        """Add an entry that another worker has recorded, or take note of its claim.

        Args:
            term: the term of the recorder.
            recorder: the id of that worker.
            head: the position of the entry, or the last one before the claim.
            entry: the entry; None for a claim.
        """
        if recorder == self.recorder and term == self.term and head.epoch == self.epoch:
            if entry is not None and entry.offset == self.offset + 1 > self._known:
                self._known = entry.offset  # the usual case, at once
                self._add(entry)
                return
        elif not self.supersedes(term, recorder):
            return
        base = head.offset if entry is None else head.offset - 1
        if head.epoch != self.epoch:
            self._restart(head.epoch, base)
        elif (term, recorder) != (self.term, self.recorder):
            self._cut(base)
        self.term, self.recorder = term, recorder
        self._known = max(self._known, head.offset)
        if entry is None or entry.offset <= self.offset:
            return
        if entry.offset == self.offset + 1:
            self._add(entry)
            self._add_waiting()
        else:
            self._wait(entry)

    def merge(self, given: Snapshot) -> None:
        """Add what another worker knows of the same topic; entries that both have are kept once.

        A snapshot of an earlier term is ignored. In a later term, its entries replace those of this log
        from the first that differs. It replaces all if it has another epoch, or begins behind a gap.
        """
        if not self.supersedes(given.term, given.recorder):
            return
        if given.epoch != self.epoch:
            self._restart(given.epoch, given.first - 1)
        elif (given.term, given.recorder) != (self.term, self.recorder):
            self._cut(self._last_common(given))
        if given.first > self.offset + 1:
            self._skip_to(given.first - 1)
        self.term, self.recorder = given.term, given.recorder
        if given.offset >= self.first - 1:
            self._add_older(given.entries[: max(0, self.first - given.first)])
        for entry in given.entries[max(0, self.offset + 1 - given.first) :]:
            self._add(entry)
        self._add_waiting()
        before = self._seen.memory
        self._seen.merge(given.seen)
        self.memory += self._seen.memory - before

    def snapshot(self, after: int = 0) -> Snapshot:
        """Return the log, or its entries above an offset, for another worker."""
        count = min(len(self.entries), max(0, self.offset - after))
        entries = list(islice(self.entries, len(self.entries) - count, None))
        return Snapshot(self.epoch, self.term, self.recorder, self.offset, entries, self._seen.given())

    @classmethod
    def of(cls, given: Snapshot) -> "Log":
        """Make a log from a snapshot."""
        log = cls(given.recorder, given.term, given.epoch, given.first - 1)
        log.merge(given)
        return log

    # Limits and queries

    def trim(self, history: History, now: float) -> None:
        """Remove the oldest entries, until the rest is within the limits."""
        entries, oldest = self.entries, now - history.seconds
        while entries and (
            len(entries) > history.messages or entries[0].at < oldest or self.bytes > history.bytes
        ):
            self._removed(entries.popleft())

    def drop_oldest(self) -> None:
        """Remove the oldest entry. Raises IndexError if there is none."""
        self._removed(self.entries.popleft())

    def drop_waiting(self) -> None:
        """Remove the entries that wait for their predecessors; the log stays incomplete."""
        self._keep_waiting(1, 0)

    def read(self, query: Query, history: History, now: float) -> Page:
        """Return the entries that a query asks for."""
        self.trim(history, now)
        page = select(query, self.head, self.first, self.entries)
        return page if self.complete else Page(page.epoch, page.offset, False, page.entries)

    # Parts

    def _add(self, entry: Entry) -> None:
        self.offset = entry.offset
        self.entries.append(entry)
        size = len(entry.data)
        self.bytes += size
        self.memory += size + ENTRY_BYTES + len(entry.event)
        self._note(entry.origin, entry.sequence)

    def _add_older(self, entries: Sequence[Entry]) -> None:
        self.entries.extendleft(reversed(entries))
        size = sum(len(each.data) for each in entries)
        self.bytes += size
        self.memory += sum(map(_memory, entries))

    def _removed(self, entry: Entry) -> None:
        size = len(entry.data)
        self.bytes -= size
        self.memory -= size + ENTRY_BYTES + len(entry.event)

    def _note(self, origin: str, sequence: int) -> None:
        before = self._seen.memory
        self._seen.note(origin, sequence)
        self.memory += self._seen.memory - before

    def _wait(self, entry: Entry) -> None:
        """Keep an entry for later. If there are too many, the log stays incomplete until it is merged."""
        if entry.offset not in self._ahead and len(self._ahead) < MAX_AHEAD:
            self._ahead[entry.offset] = entry
            self.memory += _memory(entry)

    def _add_waiting(self) -> None:
        if not self._ahead:
            return
        while (entry := self._ahead.pop(self.offset + 1, None)) is not None:
            self.memory -= _memory(entry)
            self._add(entry)
        self._keep_waiting(self.offset + 1, self._known)

    def _keep_waiting(self, first: int, last: int) -> None:
        """Drop the waiting entries outside of a range of offsets."""
        for entry in list(self._ahead.values()):
            if not first <= entry.offset <= last:
                del self._ahead[entry.offset]
                self.memory -= _memory(entry)

    def _last_common(self, given: Snapshot) -> int:
        """Return the last offset of a snapshot, or the one before the first entry that differs here."""
        start = max(self.first, given.first)
        mine = islice(self.entries, max(0, start - self.first), None)
        theirs = islice(given.entries, max(0, start - given.first), None)
        for here, there in zip(mine, theirs, strict=False):
            if (here.origin, here.sequence) != (there.origin, there.sequence):
                return here.offset - 1
        return given.offset

    def _cut(self, offset: int) -> None:
        """Remove entries above an offset, which an earlier recorder gave and a later one does not have.

        They do not count as recorded any longer, so that they can be recorded again.
        """
        self._keep_waiting(self.offset + 1, offset)
        while self.entries and self.entries[-1].offset > offset:
            entry = self.entries.pop()
            self._removed(entry)
            before = self._seen.memory
            self._seen.forget(entry.origin, entry.sequence)
            self.memory += self._seen.memory - before
        self.offset = min(self.offset, offset)
        self._known = min(self._known, offset)

    def _skip_to(self, offset: int) -> None:
        """Remove all entries, and continue behind an offset; what waits for its predecessors stays."""
        self.offset = offset
        self.memory -= sum(map(_memory, self.entries))
        self.entries.clear()
        self.bytes = 0

    def _next_term(self, recorder: str) -> bool:
        """Begin the next term; return whether the terms were used up and begin again."""
        used_up = self.term >= MAX_TERM
        self.term, self.recorder = next_term(self.term), recorder
        return used_up

    def _restart(self, epoch: str, offset: int) -> None:
        self.drop_waiting()
        self._skip_to(offset)
        self.epoch, self._known = epoch, offset


def _memory(entry: Entry) -> int:
    return len(entry.data) + len(entry.event) + ENTRY_BYTES
