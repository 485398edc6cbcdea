"""What a RedisStore knows of a topic, and what waits to be stored. Pure."""

from collections.abc import Callable, Sequence

from mesh.app.history import History
from mesh.history.contract import Entry, Head
from mesh.history.redis_stream import Marks

ENTRY_BYTES = 300
"""The size of an entry besides its payload."""


class OpenTopic:
    """A topic since it was opened.

    Attributes:
        name: the topic.
        history: its limits.
        epoch: its epoch when it was opened.
        stored: the last offset of the epoch that the server is known to have stored.
        marks: what may be removed.
        failed: whether an append was refused, so that the topic must be opened again.
    """

    __slots__ = ("epoch", "failed", "history", "marks", "name", "stored")

    def __init__(self, name: str, history: History, head: Head) -> None:
        self.name = name
        self.history = history
        self.epoch, self.stored = head
        self.marks = Marks(history)
        self.failed = False


class Append:
    """Entries that wait for the server.

    Attributes:
        topic: their topic; None if it was not opened.
        entries: the entries; None if too much waited already.
        count: how many they are.
        size: how many bytes of memory they need.
        done: is told whether they were stored.
        sent: whether they are in the pipeline that is being carried out.
    """

    __slots__ = ("count", "done", "entries", "sent", "size", "topic")

    def __init__(
        self, topic: OpenTopic | None, entries: Sequence[Entry], done: Callable[[bool], None]
    ) -> None:
        self.topic = topic
        self.entries: Sequence[Entry] | None = entries
        self.count = len(entries)
        self.size = sum(len(each.data) for each in entries) + ENTRY_BYTES * len(entries)
        self.done = done
        self.sent = False

    def refuse(self) -> None:
        """Let go of the entries; `done` is called in its turn."""
        self.entries, self.size = None, 0
