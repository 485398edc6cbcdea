"""The CRDT of presences: who is on which topic, according to each replica. Pure.

Every replica modifies only its own entries and numbers its operations; an entry is identified by (replica,
clock), its *dot*. What is known of a replica is its entries up to a certain clock. So a delta can be merged
late, twice or in any order: operations that are already known have no effect, and a delta that would leave
a gap is rejected, so that the caller requests what is missing. A removed dot never returns.

Source: Phoenix.Tracker.State (delta-state OR-set; Almeida et al., "Delta State Replicated Data Types").
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import msgspec

Meta = dict[str, Any]


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """A presence; `clock` is its dot, together with its replica."""

    clock: int
    topic: str
    key: str
    meta: Meta


class Delta(msgspec.Struct, array_like=True, frozen=True):
    """The operations of a replica after `since`, up to `clock`.

    Attributes:
        since: the clock up to which the receiver must already know the replica.
        clock: the clock up to which it knows the replica afterwards.
        added: the entries added in this range that still exist.
        removed: the dots removed in this range, whenever they were added.
        full: if true, `removed` is empty, and every dot of this range that is not in `added` is removed.
    """

    since: int
    clock: int
    added: tuple[Entry, ...] = ()
    removed: tuple[int, ...] = ()
    full: bool = False


class Change(NamedTuple):
    """An entry that appeared (`joined`) or disappeared."""

    joined: bool
    topic: str
    key: str
    meta: Meta


class _Replica:
    """What is known of one replica."""

    __slots__ = ("clock", "entries", "visible")

    def __init__(self, visible: bool) -> None:
        self.clock = 0
        self.entries: dict[int, Entry] = {}
        self.visible = visible


class State:
    """What one replica knows of all replicas.

    Args:
        replica: the id of this replica.
        max_log: the number of its own operations that it remembers for deltas; a replica that is further
            behind receives all entries.
    """

    def __init__(self, replica: str, max_log: int = 10_000) -> None:
        self.replica = replica
        self._own = _Replica(visible=True)
        self._replicas: dict[str, _Replica] = {replica: self._own}
        self._log: deque[int] = deque()  # for each of the last operations, the dot that it removed, or 0
        self._max_log = max_log
        self._topics: dict[str, dict[str, dict[tuple[str, int], Meta]]] = {}

    # This replica's own entries

    @property
    def clock(self) -> int:
        """The number of operations of this replica."""
        return self._own.clock

    def add(self, topic: str, key: str, meta: Meta) -> Entry:
        """Add an entry of this replica."""
        entry = Entry(self._next_clock(), topic, key, meta)
        self._log_operation(0)
        self._insert(self.replica, self._own, entry)
        return entry

    def remove(self, clock: int) -> Entry:
        """Remove an entry of this replica. Raises KeyError if there is no such entry."""
        entry = self._own.entries[clock]
        self._next_clock()
        self._log_operation(clock)
        self._discard(self.replica, self._own, clock)
        return entry

    def entry(self, clock: int) -> Entry:
        """Return an entry of this replica. Raises KeyError if there is no such entry."""
        return self._own.entries[clock]

    def own_entries(self) -> Iterable[Entry]:
        """Return this replica's entries."""
        return self._own.entries.values()

    def deltas(self, since: int, max_entries: int = 500) -> list[Delta]:
        """Return the deltas for a replica that knows this one up to `since`, to be merged in this order."""
        if since >= self.clock:
            return []
        behind = self.clock - since
        if behind > len(self._log):
            return self._full_deltas(max_entries)
        ops = list(islice(self._log, len(self._log) - behind, None))
        if len(ops) > max_entries and len(ops) > 2 * len(self._own.entries):
            return self._full_deltas(max_entries)
        return self._partial_deltas(since, ops, max_entries)

    def _partial_deltas(self, since: int, ops: list[int], max_ops: int) -> list[Delta]:
        deltas = []
        alive = self._own.entries
        for start in range(0, len(ops), max_ops):
            part = ops[start : start + max_ops]
            end = since + len(part)
            removed = tuple(dot for dot in part if dot)
            added = tuple(alive[dot] for dot in range(since + 1, end + 1) if dot in alive)
            deltas.append(Delta(since, end, added, removed))
            since = end
        return deltas

    def _full_deltas(self, max_entries: int) -> list[Delta]:
        entries = list(self._own.entries.values())  # in the order of their clocks
        deltas, since = [], 0
        for start in range(0, max(len(entries), 1), max_entries):
            part = tuple(entries[start : start + max_entries])
            last = start + max_entries >= len(entries)
            clock = self.clock if last else part[-1].clock
            deltas.append(Delta(since, clock, part, full=True))
            since = clock
        return deltas

    def _next_clock(self) -> int:
        self._own.clock += 1
        return self._own.clock

    def _log_operation(self, removed: int) -> None:
        self._log.append(removed)
        if len(self._log) > self._max_log:
            self._log.popleft()

    # The other replicas

    def clock_of(self, replica: str) -> int:
        """Return the clock up to which a replica is known; 0 if it is unknown."""
        known = self._replicas.get(replica)
        return known.clock if known is not None else 0

    def replicas(self) -> list[str]:
        """Return all known replicas, including this one."""
        return list(self._replicas)

    def merge(self, replica: str, delta: Delta) -> list[Change] | None:
        """Merge a delta of another replica; return None if an earlier delta is missing."""
        known = self._replicas.get(replica)
        if known is None:
            known = self._replicas[replica] = _Replica(visible=False)
        if replica == self.replica:
            return []
        if delta.since > known.clock:
            return None
        changes = self._merge_removed(replica, known, delta)
        for entry in delta.added:
            if entry.clock > known.clock:
                changes += self._insert(replica, known, entry)
        known.clock = max(known.clock, delta.clock)
        return changes

    def _merge_removed(self, replica: str, known: _Replica, delta: Delta) -> list[Change]:
        removed: Iterable[int] = delta.removed
        if delta.full:
            listed = {entry.clock for entry in delta.added}
            removed = [
                clock
                for clock in known.entries
                if delta.since < clock <= delta.clock and clock not in listed
            ]
        return [change for clock in removed for change in self._discard(replica, known, clock)]

    def show(self, replica: str) -> list[Change]:
        """Make the entries of a replica visible, because it is up."""
        known = self._replicas.setdefault(replica, _Replica(visible=False))
        if known.visible:
            return []
        known.visible = True
        return [self._appear(replica, entry) for entry in known.entries.values()]

    def hide(self, replica: str) -> list[Change]:
        """Make the entries of a replica invisible, because it is down; they are not forgotten."""
        known = self._replicas.get(replica)
        if known is None or not known.visible or replica == self.replica:
            return []
        known.visible = False
        return [self._disappear(replica, entry) for entry in known.entries.values()]

    def forget(self, replica: str) -> list[Change]:
        """Forget a replica that will not return."""
        changes = self.hide(replica)
        if replica != self.replica:
            self._replicas.pop(replica, None)
        return changes

    # The visible entries

    def get_by_topic(self, topic: str) -> dict[str, list[Meta]]:
        """Return the metas of each key on a topic, oldest first."""
        keys = self._topics.get(topic, {})
        return {key: list(metas.values()) for key, metas in keys.items()}

    def get_by_key(self, topic: str, key: str) -> list[Meta]:
        """Return the metas of one key; empty if it is not present."""
        return list(self._topics.get(topic, {}).get(key, {}).values())

    def topics(self) -> list[str]:
        """Return the topics with at least one presence."""
        return list(self._topics)

    def _insert(self, replica: str, known: _Replica, entry: Entry) -> list[Change]:
        if entry.clock in known.entries:
            return []
        known.entries[entry.clock] = entry
        return [self._appear(replica, entry)] if known.visible else []

    def _discard(self, replica: str, known: _Replica, clock: int) -> list[Change]:
        entry = known.entries.pop(clock, None)
        if entry is None or not known.visible:
            return []
        return [self._disappear(replica, entry)]

    def _appear(self, replica: str, entry: Entry) -> Change:
        keys = self._topics.setdefault(entry.topic, {})
        keys.setdefault(entry.key, {})[replica, entry.clock] = entry.meta
        return Change(True, entry.topic, entry.key, entry.meta)

    def _disappear(self, replica: str, entry: Entry) -> Change:
        keys = self._topics[entry.topic]
        metas = keys[entry.key]
        del metas[replica, entry.clock]
        if not metas:
            del keys[entry.key]
            if not keys:
                del self._topics[entry.topic]
        return Change(False, entry.topic, entry.key, entry.meta)
