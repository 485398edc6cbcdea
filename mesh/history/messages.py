"""What workers send each other about the topics that they record (docs/protocol.md §2.9). Pure.

GIVE and RETURN are calls, SETTLED, RELEASE and INCOMPLETE need no answer. READ_HERE is the call READ, asked
of the recorder of a topic by another worker, which is never passed on.
"""

from typing import Annotated

import msgspec

from mesh.bus.decoding import decoder
from mesh.history.contract import Entry, Node
from mesh.history.contract import decode_query as decode_query
from mesh.history.snapshot import Snapshot

GIVE = "history.give"
SETTLED = "history.settled"
RELEASE = "history.release"
INCOMPLETE = "history.incomplete"
RETURN = "history.return"
READ_HERE = "history.read_here"
FORGET_HERE = "history.forget_here"

COPY = 0
"""The receiver keeps a copy of the logs."""
RECORD = 1
"""The receiver records the topics from now on; the giver keeps the copies."""


class Give(msgspec.Struct, array_like=True, frozen=True):
    """The logs of some topics, or their newest entries.

    Attributes:
        role: COPY or RECORD.
        logs: (topic, log) pairs.
    """

    role: Annotated[int, msgspec.Meta(ge=COPY, le=RECORD)]
    logs: list[tuple[str, Snapshot]]


class Release(msgspec.Struct, array_like=True, frozen=True):
    """Topics whose copies other workers need not keep any longer.

    Attributes:
        recorder: the worker that records them.
        topics: the topics.
    """

    recorder: Node
    topics: list[str]


class Incomplete(msgspec.Struct, array_like=True, frozen=True):
    """Topics of which a worker has missed something, so that it needs their logs again.

    Attributes:
        worker: the worker that keeps the copies.
        topics: the topics.
    """

    worker: str
    topics: list[str]


class Returned(msgspec.Struct, array_like=True, frozen=True):
    """What a replaced recorder has recorded of its own, and its successor perhaps not.

    Attributes:
        topic: the topic.
        entries: the broadcasts; their offsets do not count.
    """

    topic: str
    entries: list[Entry]


class Given(msgspec.Struct, array_like=True, frozen=True):
    """The answer to Give: whether the receiver has taken the logs. A worker that stops takes none."""

    accepted: bool


encode = msgspec.msgpack.Encoder().encode
decode_topic = decoder(str, "a topic")
decode_give = decoder(Give, "logs of topics")
decode_given = decoder(Given, "an answer about logs of topics")
decode_settled = decoder(tuple[Node, Annotated[str, msgspec.Meta(max_length=64)]], "a view of the workers")
decode_release = decoder(Release, "topics to release")
decode_returned = decoder(Returned, "returned broadcasts")
decode_incomplete = decoder(Incomplete, "topics of incomplete copies")
