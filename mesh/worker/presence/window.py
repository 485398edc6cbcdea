"""What changed on one topic while changes are gathered for one diff, and what of it must be told. Pure.

An entry that came and went before anybody was told is not told at all. So no `phx_ref` is in both the joins
and the leaves of a diff, and a client ends in the same state whichever of the two it applies first. If
somebody has read the list in between, the entry's last change is told: a leave of what a client never had,
or a join of what it has, changes nothing for the others.
"""

from mesh.tracker.state import Change


class _Entry:
    """What has happened to one entry.

    Attributes:
        first: whether the first change was a join.
        last: the last change.
        reads: of the window, before it.
        believed: whether somebody has read the list after a change like the first one.
    """

    __slots__ = ("believed", "first", "last", "reads")

    def __init__(self, change: Change, reads: int) -> None:
        self.first = change.joined
        self.last = change
        self.reads = reads
        self.believed = False

    @property
    def told(self) -> bool:
        """Whether somebody may believe otherwise: who was told before, or has read in between."""
        return self.last.joined is self.first or self.believed


class DiffWindow:
    """The changes of one topic, in order, and when its list was read meanwhile.

    Of each entry only what counts is kept: the window may be open for long, if `fetch` takes long.
    """

    __slots__ = ("_count", "_entries", "_reads")

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str | int], _Entry] = {}
        self._reads = 0
        self._count = 0

    def __len__(self) -> int:
        """How many changes are to be told."""
        return len(self._entries)

    def add(self, changes: list[Change]) -> None:
        """These follow."""
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
        if entry.told:  # else it is as it was before, and nobody knows better
            self._entries[name] = entry

    def read(self) -> None:
        """Somebody reads the topic's list as it is after these changes."""
        self._reads += 1

    def net(self) -> list[Change]:
        """What is to be told: at most one change of each entry."""
        return [entry.last for entry in self._entries.values()]
