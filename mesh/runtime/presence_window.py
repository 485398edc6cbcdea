"""What changed on one topic while changes are gathered for one diff, and what of it must be told. Pure.

An entry that came and went before anybody was told is not told at all. So no `phx_ref` is in both the joins
and the leaves of a diff, and a client ends in the same state whichever of the two it applies first. If
somebody has read the list in between, the entry's last change is told: a leave of what a client never had,
or a join of what it has, changes nothing for the others.
"""

from itertools import pairwise

from mesh.tracker.state import Change


class Window:
    """The changes of one topic, in order, and when its list was read meanwhile."""

    __slots__ = ("_changes", "_reads")

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._reads: list[int] = []

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, changes: list[Change]) -> None:
        """These follow."""
        self._changes += changes

    def read(self) -> None:
        """Somebody reads the topic's list as it is after these changes."""
        count = len(self._changes)
        if count and (not self._reads or self._reads[-1] != count):
            self._reads.append(count)

    def net(self) -> list[Change]:
        """What is to be told: at most one change of each entry."""
        of_entry: dict[tuple[str, str | int], list[int]] = {}
        for index, change in enumerate(self._changes):
            ref = change.meta.get("phx_ref")
            of_entry.setdefault((change.key, ref if isinstance(ref, str) else index), []).append(index)
        if len(of_entry) == len(self._changes):
            return self._changes
        told = sorted(indexes[-1] for indexes in of_entry.values() if self._is_told(indexes))
        return [self._changes[index] for index in told]

    def _is_told(self, indexes: list[int]) -> bool:
        """Whether who was told, or has read, before the last of these changes may believe otherwise."""
        now = self._changes[indexes[-1]].joined
        if self._changes[indexes[0]].joined is now:  # it was not so before
            return True
        other = [
            (since, until) for since, until in pairwise(indexes) if self._changes[since].joined is not now
        ]
        return any(since < read <= until for since, until in other for read in self._reads)
