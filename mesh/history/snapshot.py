"""The history of one topic, as one worker gives it to another. Pure."""

from typing import Annotated

import msgspec

from mesh.bus.frames import MAX_TERM
from mesh.history.contract import MAX_EPOCH_CHARACTERS, Entry, Node, Number, Offset


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """A log, or its newest entries, as another worker receives it.

    Attributes:
        epoch: the epoch.
        term: the term of the recorder.
        recorder: the id of the worker that records the topic.
        offset: the last offset that was given.
        entries: contiguous entries; the last one has this offset.
        seen: for each publisher, a number up to which all of its messages count as recorded, and the
            numbers above it that were recorded; who has published most recently comes last.

    Raises:
        ValueError: if the entries are not contiguous, or do not end at the offset.
    """

    epoch: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EPOCH_CHARACTERS)]
    term: Annotated[int, msgspec.Meta(ge=0, le=MAX_TERM)]
    recorder: Node
    offset: Offset
    entries: list[Entry]
    seen: dict[Node, Annotated[list[Number], msgspec.Meta(min_length=1)]]

    def __post_init__(self) -> None:
        """Check the offsets of the entries."""
        wanted = self.first
        if wanted < 1:
            raise ValueError(f"more entries than offsets: {len(self.entries)}, {self.offset}")
        for entry in self.entries:
            if entry.offset != wanted:
                raise ValueError(f"entry {entry.offset} where {wanted} belongs")
            wanted += 1

    @property
    def first(self) -> int:
        """The offset of the oldest entry; one above the last offset if there is none."""
        return self.offset - len(self.entries) + 1
