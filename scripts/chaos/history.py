"""Records the events of a run. Times are in seconds of `time.monotonic`."""

from dataclasses import dataclass, field

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
    """

    started: float = 0.0
    sent: dict[tuple[str, str], list[Sent]] = field(default_factory=dict)
    memberships: dict[tuple[str, str], list[Membership]] = field(default_factory=dict)
    gateways: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unacknowledged: int = 0
