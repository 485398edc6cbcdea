"""The history of one topic in memory: its entries, its position, and who records it. Pure.

**Positions.** Within an epoch, each entry has the next offset. `offset` is the last one that was given; it
stays when entries are trimmed, so that no offset is given twice.

**Recorder and term.** One worker records a topic at a time. When another one takes over it begins a new
*term*, a number above all earlier ones; if two workers begin the same term, the greater node id wins. A log
follows the latest recorder that it knows, and ignores entries of earlier ones.

**Copies.** A second worker keeps a copy: it is given the log once, and from then on adds the recorded
broadcasts that it receives. An entry that arrives ahead of its predecessors waits for them. A copy that
waits for an entry is not complete, and its worker must not continue the epoch.

The arguments named `now` are Unix time in seconds.
"""

import secrets
import string
from collections import deque
from collections.abc import Iterable

import msgspec

from mesh.app.history import History
from mesh.history.contract import Entry, Head, Page, Query

MAX_AHEAD = 1_000
"""The most entries that wait for their predecessors; a copy that misses more is not completed."""
MAX_ORIGINS = 256
"""The most publishers of one topic whose last message is remembered. A worker drops what it has received
twice before it gets here, so a forgotten publisher causes a double only if its topic is handed over in the
same moment."""
ENTRY_BYTES = 300
"""The memory of an entry besides its payload."""
LOG_BYTES = 1_500
"""The memory of a log without entries."""
_LETTERS = string.ascii_lowercase
_CHARACTERS = string.ascii_lowercase + string.digits


def new_epoch() -> str:
    """Return a new epoch: 12 characters, the first a letter, so that it cannot be taken for a number."""
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_CHARACTERS) for _ in range(11))


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """A log, or its newest entries, as another worker receives it.

    Attributes:
        epoch: the epoch.
        term: the term of the recorder.
        recorder: the id of the worker that records the topic.
        offset: the last offset that was given.
        entries: contiguous entries; the last one has this offset.
        seen: for each publisher, the number of its last message that was recorded.
    """

    epoch: str
    term: int
    recorder: str
    offset: int
    entries: list[Entry]
    seen: dict[str, int]


class Log:
    """The history of one topic.

    Attributes:
        epoch: the epoch of the offsets.
        term: the term of the recorder.
        recorder: the id of the worker that records the topic, as far as this worker knows.
        offset: the last offset that was given.
        entries: the entries, the oldest first, without a gap.
        bytes: the size of their payloads.
    """

    __slots__ = ("_ahead", "_broken", "_seen", "bytes", "entries", "epoch", "offset", "recorder", "term")

    def __init__(self, recorder: str, term: int = 1, epoch: str | None = None, offset: int = 0) -> None:
        self.epoch = epoch if epoch is not None else new_epoch()
        self.term = term
        self.recorder = recorder
        self.offset = offset
        self.entries: deque[Entry] = deque()
        self.bytes = 0
        self._seen: dict[str, int] = {}
        self._ahead: dict[int, Entry] = {}
        self._broken = False

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
        return not (self._ahead or self._broken)

    @property
    def memory(self) -> int:
        """The memory that the log needs, in bytes, estimated."""
        return LOG_BYTES + self.bytes + ENTRY_BYTES * len(self.entries)

    # Recording

    def record(
        self, event: str, codec: int, data: bytes, origin: str, sequence: int, now: float
    ) -> Entry | None:
        """Give a broadcast the next offset, and return its entry; None if it was recorded before."""
        if sequence <= self._seen.get(origin, 0):
            return None
        self.offset += 1
        entry = Entry(self.offset, event, codec, data, origin, sequence, now)
        self._add(entry)
        return entry

    def is_recorded(self, origin: str, sequence: int) -> bool:
        """Return whether a broadcast was recorded."""
        return sequence <= self._seen.get(origin, 0)

    def begin_term(self, recorder: str) -> None:
        """Let this worker record the topic from now on."""
        self.term += 1
        self.recorder = recorder

    def forget(self, recorder: str) -> None:
        """Remove all entries and begin a new epoch in a new term."""
        self.begin_term(recorder)
        self._restart(new_epoch(), 0)

    # Following another recorder

    def supersedes(self, term: int, recorder: str) -> bool:
        """Return whether a recorder in its term counts, and not an earlier one."""
        return (term, recorder) >= (self.term, self.recorder)

    def follow(self, term: int, recorder: str, head: Head, entry: Entry | None) -> None:
        """Add an entry that another worker has recorded, or take note of its claim.

        Args:
            term: the term of the recorder.
            recorder: the id of that worker.
            head: the position of the entry, or the last one before the claim.
            entry: the entry; None for a claim.
        """
        if not self.supersedes(term, recorder):
            return
        if head.epoch != self.epoch:
            self._restart(head.epoch, head.offset if entry is None else head.offset - 1)
        elif (term, recorder) != (self.term, self.recorder):
            self._cut(head.offset if entry is None else head.offset - 1)
        self.term, self.recorder = term, recorder
        if entry is None:
            self._broken = self._broken or head.offset > self.offset
        elif entry.offset == self.offset + 1:
            self.offset = entry.offset
            self._add(entry)
            self._add_waiting()
        elif entry.offset > self.offset:
            self._wait(entry)

    def merge(self, given: Snapshot) -> None:
        """Add what another worker knows of the same topic; entries that both have are kept once.

        A snapshot of an earlier term is ignored. One of another epoch, or one that does not touch the
        entries of this log, replaces it.
        """
        if not self.supersedes(given.term, given.recorder):
            return
        first = given.entries[0].offset if given.entries else given.offset + 1
        disjoint = first > self.offset + 1 or given.offset < self.first - 1
        if given.epoch != self.epoch or (disjoint and given.offset >= self.offset):
            self._restart(given.epoch, first - 1)
        self.term, self.recorder = given.term, given.recorder
        if not disjoint and first < self.first:
            older = [each for each in given.entries if each.offset < self.first]
            self.entries.extendleft(reversed(older))
            self.bytes += sum(len(each.data) for each in older)
        for entry in given.entries:
            if entry.offset == self.offset + 1:
                self.offset = entry.offset
                self._add(entry)
        self._add_waiting()
        self._broken = self._broken and self.offset < given.offset
        for origin, sequence in given.seen.items():
            self._note(origin, sequence)

    def snapshot(self, after: int = 0) -> Snapshot:
        """Return the log, or its entries above an offset, for another worker."""
        entries = [each for each in self.entries if each.offset > after]
        return Snapshot(self.epoch, self.term, self.recorder, self.offset, entries, dict(self._seen))

    @classmethod
    def of(cls, given: Snapshot) -> "Log":
        """Make a log from a snapshot."""
        log = cls(given.recorder, given.term, given.epoch, given.offset - len(given.entries))
        log.merge(given)
        return log

    # Limits and queries

    def trim(self, history: History, now: float) -> None:
        """Remove the oldest entries, until the rest is within the limits."""
        entries, oldest = self.entries, now - history.seconds
        while entries and (
            len(entries) > history.messages or self.bytes > history.bytes or entries[0].at < oldest
        ):
            self.bytes -= len(entries.popleft().data)

    def read(self, query: Query, history: History, now: float) -> Page:
        """Return the entries that a query asks for."""
        self.trim(history, now)
        return select(query, self.head, self.first, self.entries)

    # Parts

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.bytes += len(entry.data)
        self._note(entry.origin, entry.sequence)

    def _note(self, origin: str, sequence: int) -> None:
        seen = self._seen
        if sequence > seen.get(origin, 0):
            if origin not in seen and len(seen) >= MAX_ORIGINS:
                del seen[next(iter(seen))]
            seen[origin] = sequence

    def _wait(self, entry: Entry) -> None:
        if len(self._ahead) >= MAX_AHEAD:
            self._ahead.clear()
            self._broken = True
        if not self._broken:
            self._ahead[entry.offset] = entry

    def _add_waiting(self) -> None:
        while self._ahead:
            entry = self._ahead.pop(self.offset + 1, None)
            if entry is None:
                self._ahead = {at: each for at, each in self._ahead.items() if at > self.offset}
                return
            self.offset = entry.offset
            self._add(entry)

    def _cut(self, offset: int) -> None:
        """Remove entries above an offset, which an earlier recorder gave and a later one does not have."""
        self._ahead.clear()
        while self.entries and self.entries[-1].offset > offset:
            self.bytes -= len(self.entries.pop().data)
        self.offset = min(self.offset, offset)

    def _restart(self, epoch: str, offset: int) -> None:
        self.epoch, self.offset = epoch, offset
        self.entries.clear()
        self._ahead.clear()
        self.bytes = 0
        self._broken = False


def select(query: Query, head: Head, first: int, entries: Iterable[Entry]) -> Page:
    """Return the entries that a query asks for.

    Args:
        query: the question.
        head: the newest position of the topic.
        first: the offset of the oldest entry that is kept; one above the newest if there is none.
        entries: the entries that are kept, the oldest first.
    """
    if query.after is None:
        below = query.before if query.before is not None else head.offset + 1
        found = [each for each in entries if each.offset < below]
        return Page(head.epoch, head.offset, True, found[max(0, len(found) - query.limit) :])
    foreign = query.epoch is not None and query.epoch != head.epoch
    if foreign or not first - 1 <= query.after <= head.offset:
        return Page(head.epoch, head.offset, False, [])
    below = query.before if query.before is not None else head.offset + 1
    found = [each for each in entries if query.after < each.offset < below]
    return Page(head.epoch, head.offset, len(found) <= query.limit, found[: query.limit])
