"""The changes of one topic while they are collected for one diff, and which of them it must contain. Pure.

An entry that appeared and disappeared before any diff was sent is in no diff. So no `phx_ref` is in both
the joins and the leaves of a diff, and a client reaches the same state in whichever order it applies them.
If the list was read in between, the entry's last change is in the diff: to the other clients, a leave of an
entry that they never had, or a join of one that they have, makes no difference.
"""

from mesh.tracker.state import Change


class _Entry:
    """The changes of one entry.

    Attributes:
        first_joined: whether the first change was a join.
        last: the last change.
        reads: how often the list had been read before the last change.
        read_after_first: whether the list was read while the entry was as its first change had left it.
    """

    __slots__ = ("first_joined", "last", "read_after_first", "reads")

    def __init__(self, change: Change, reads: int) -> None:
        self.first_joined = change.joined
        self.last = change
        self.reads = reads
        self.read_after_first = False

    @property
    def in_diff(self) -> bool:
        """Whether the diff must contain the entry, because a client may know another state of it."""
        return self.last.joined is self.first_joined or self.read_after_first


class DiffWindow:
    """The changes of one topic, in order, and when its list was read in between.

    Only the last change of each entry is kept, because the window is open for long if `fetch` is slow.
    """

    __slots__ = ("_count", "_entries", "_reads")

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str | int], _Entry] = {}
        self._reads = 0
        self._count = 0

    def __len__(self) -> int:
        """Return how many changes the diff will contain."""
        return len(self._entries)

    def add(self, changes: list[Change]) -> None:
        """Add changes."""
        for change in changes:
            self._add(change)

    def _add(self, change: Change) -> None:
        self._count += 1
        ref = change.meta.get("phx_ref")
        name = change.key, ref if isinstance(ref, str) else self._count
        entry = self._entries.pop(name, None)
        if entry is None:
            entry = _Entry(change, self._reads)
        else:
            entry.read_after_first |= entry.last.joined is entry.first_joined and entry.reads < self._reads
            entry.last, entry.reads = change, self._reads
        if entry.in_diff:  # otherwise it is as before, and nobody knows another state
            self._entries[name] = entry

    def read(self) -> None:
        """Record that the topic's list was read after these changes."""
        self._reads += 1

    def net(self) -> list[Change]:
        """Return what the diff must contain: at most one change of each entry."""
        return [entry.last for entry in self._entries.values()]
