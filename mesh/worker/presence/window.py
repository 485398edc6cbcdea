"""The changes of one topic while they are gathered for one diff, and which of them it must contain. Pure.

An entry that came and went before any diff was sent is in no diff. So no `phx_ref` is in both the joins
and the leaves of a diff, and a client ends in the same state whichever of the two it applies first. If the
list was read in between, the entry's last change is in the diff: a leave of what a client never had, or a
join of what it has, changes nothing for the other clients.
"""

from mesh.tracker.state import Change


class _Entry:
    """The changes of one entry.

    Attributes:
        first: whether the first change was a join.
        last: the last change.
        reads: how often the list had been read before the last change.
        believed: whether the list was read while the entry was as its first change had left it.
    """

    __slots__ = ("believed", "first", "last", "reads")

    def __init__(self, change: Change, reads: int) -> None:
        self.first = change.joined
        self.last = change
        self.reads = reads
        self.believed = False

    @property
    def told(self) -> bool:
        """Whether the diff must contain the entry: some client may know another state of it."""
        return self.last.joined is self.first or self.believed


class DiffWindow:
    """The changes of one topic, in order, and when its list was read meanwhile.

    Of each entry only its last change is kept: the window may be open for long, if `fetch` takes long.
    """

    __slots__ = ("_count", "_entries", "_reads")

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str | int], _Entry] = {}
        self._reads = 0
        self._count = 0

    def __len__(self) -> int:
        """How many changes the diff will contain."""
        return len(self._entries)

    def add(self, changes: list[Change]) -> None:
        """These changes follow."""
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
            entry.believed |= entry.last.joined is entry.first and entry.reads < self._reads
            entry.last, entry.reads = change, self._reads
        if entry.told:  # else it is as it was before, and nobody knows another state
            self._entries[name] = entry

    def read(self) -> None:
        """The topic's list is read, as it is after these changes."""
        self._reads += 1

    def net(self) -> list[Change]:
        """What the diff must contain: at most one change of each entry."""
        return [entry.last for entry in self._entries.values()]
