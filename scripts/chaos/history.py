"""Records the events of a run. Times are in seconds of `time.monotonic`."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

SOURCES = ("bus", "pushes")
"""The publishers: a program on the bus, and a client that pushes."""


@dataclass
class Sent:
    """One message, with the times at which it was published and confirmed."""

    published: float
    confirmed: float | None = None


@dataclass
class Membership:
    """A period in which a reader was joined to a topic.

    Attributes:
        received: (source, number, when) of each message that it received.
    """

    since: float
    until: float = float("inf")
    received: list[tuple[str, int, float]] = field(default_factory=list)


@dataclass
class Fault:
    """One fault, inflicted on one node or on all of them."""

    what: str
    kind: str
    index: int
    at: float = 0.0
    ended: float = 0.0

    @property
    def name(self) -> str:
        """The fault and the kind of node, as in the table."""
        return f"{self.what} {self.kind.removesuffix('s').replace('proxie', 'proxy')}".strip()


class Position(NamedTuple):
    """A position in a topic's history."""

    epoch: str
    offset: int


class Received(NamedTuple):
    """A message that a recovering client has received."""

    source: str
    number: int
    position: Position
    at: float


@dataclass
class Continuity:
    """A period in which a recovering client must miss nothing of a topic.

    Attributes:
        since: its start, or when it was told `recovered: false`.
        ended: when it was told `recovered: false` the next time; None at the end of the run.
        received: the messages that it received, in order.
    """

    since: float
    ended: float | None = None
    received: list[Received] = field(default_factory=list)


@dataclass
class History:
    """Everything that happened in a run.

    Attributes:
        started: the time from which on faults could occur.
        sent: the messages by source and topic; the first has number 1.
        memberships: the periods of membership by reader and topic.
        gateways: the number of each reader's gateway, from 0.
        faults: the faults in order.
        unacknowledged: the number of pushes without a reply.
        kept: the messages to topics with a history, by source and topic.
        continuities: what each recovering client received, by client and topic.
        disturbances: what was done to recovering clients, and how often.
    """

    started: float = 0.0
    sent: dict[tuple[str, str], list[Sent]] = field(default_factory=dict)
    memberships: dict[tuple[str, str], list[Membership]] = field(default_factory=dict)
    gateways: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unacknowledged: int = 0
    kept: dict[tuple[str, str], list[Sent]] = field(default_factory=dict)
    continuities: dict[tuple[str, str], list[Continuity]] = field(default_factory=dict)
    disturbances: Counter[str] = field(default_factory=Counter)
