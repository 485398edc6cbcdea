"""The histories of topics: their positions, the queries for them, and the contract of a store. Pure.

A worker records the history of a topic (recorder.py): it gives each kept broadcast the next offset. What it
has recorded is in a HistoryStore: in memory (memory_store.py), or in Redis (redis_store.py).
`tests/contract/test_history_stores.py` verifies the guarantees of HistoryStore for every implementation.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, Protocol

import msgspec

from mesh.app.history import History
from mesh.bus.decoding import decoder
from mesh.bus.frames import MAX_ORIGIN_BYTES

READ = "history.read"
"""The call that asks a worker for a part of a history; its data is a Query, its answer a Page."""
FORGET = "history.forget"
"""The call that removes a history; its data is a topic in UTF-8, its answer a Page without entries."""

MAX_OFFSET = 2**53
"""A double can represent it: clients in JavaScript have no larger integers."""
MAX_EPOCH_CHARACTERS = 64

Offset = Annotated[int, msgspec.Meta(ge=0, le=MAX_OFFSET)]
Number = Annotated[int, msgspec.Meta(ge=0)]
"""The number of a message among those of its publisher; msgpack limits it to 64 bits."""
Node = Annotated[str, msgspec.Meta(max_length=MAX_ORIGIN_BYTES)]


class Head(NamedTuple):
    """The newest position of a topic: its epoch, and the last offset given (0 before the first)."""

    epoch: str
    offset: int


class Position(Protocol):
    """An epoch and an offset: a Head, or the position of a recorded broadcast."""

    @property
    def epoch(self) -> str:
        """The epoch of the offset."""

    @property
    def offset(self) -> int:
        """The number in the topic."""


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A kept broadcast. The garbage collector need not look at the many that a worker keeps.

    Attributes:
        offset: its number in the topic.
        event: its event.
        codec: the codec of its payload.
        data: its payload, encoded.
        origin: the node that published it.
        sequence: its number among the messages of that node.
        at: when it was recorded, as Unix time in seconds.
    """

    offset: Offset
    event: str
    codec: int
    data: bytes
    origin: str
    sequence: Number
    at: float


class Query(msgspec.Struct, array_like=True, frozen=True):
    """A question for a part of a history.

    Attributes:
        topic: the topic.
        epoch: with `after`, the epoch of the offset; None: whichever is current.
        after: ask for the entries above this offset, the oldest first; None for the newest ones.
        before: ask only for entries below this offset.
        limit: the most entries.
    """

    topic: str
    epoch: str | None = None
    after: Offset | None = None
    before: Offset | None = None
    limit: Annotated[int, msgspec.Meta(ge=0)] = 2**31


class Page(msgspec.Struct, array_like=True, frozen=True):
    """The answer to a Query.

    Attributes:
        epoch: the epoch of the offsets; empty if there is no history, or it could not be read.
        offset: the last offset that was given, 0 before the first.
        complete: whether `entries` are all that the query asks for, up to `offset`: none was removed, the
            epoch is current, and the limit cut off nothing.
        entries: the entries, the oldest first.
    """

    epoch: str
    offset: int
    complete: bool
    entries: list[Entry]


UNREADABLE = Page("", 0, False, [])
"""The answer while a history cannot be read."""
NO_HISTORY = Page("", 0, True, [])
"""The answer for a topic that has no history."""

encode = msgspec.msgpack.Encoder().encode
decode_query = decoder(Query, "a query for a history")
decode_page = decoder(Page, "a part of a history")


class HistoryStore(Protocol):
    """Keeps the entries of topics, each topic under its limits.

    A topic must be opened before the other methods are called for it. The recorder of a topic is the only
    one that appends to it. The limits of a History apply to what `read` returns; a store may keep more.
    """

    @property
    def immediate(self) -> bool:
        """Whether `append` has stored the entries when it returns."""

    async def open(self, topic: str, history: History) -> Head:
        """Return the topic's newest position; begin an epoch if the store has none.

        Raises:
            HistoryUnavailableError: if the store cannot be reached.
        """

    def append(self, topic: str, entries: Sequence[Entry], done: Callable[[bool], None]) -> None:
        """Store entries whose offsets continue those of the topic.

        Calls `done` once they are stored, in the order of the calls for a topic: at once if `immediate`,
        otherwise later. False means that they were refused, because somebody else has given these offsets
        or begun another epoch, or that the store did not confirm them, though it may have stored them.
        The topic must then be opened again; until then a store may refuse what is appended to it.
        """

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history. Raises HistoryUnavailableError as `open`."""

    async def forget(self, topic: str) -> Head:
        """Remove a topic's entries and begin a new epoch. Raises HistoryUnavailableError as `open`."""

    def drop(self, topic: str) -> None:
        """Close a topic, which is not used for the time being; it must be opened again before it is."""

    def problem(self) -> str:
        """Return why the store cannot be used now; empty if it can."""

    async def flush(self) -> None:
        """Return once what was appended is stored, or refused."""

    async def aclose(self) -> None:
        """Release connections."""
