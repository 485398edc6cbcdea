"""What happened in a run. Times are seconds of `time.monotonic`."""

from dataclasses import dataclass, field

SOURCES = ("bus", "pushes")
"""Who publishes: a program on the bus, and a client that pushes."""


@dataclass
class Sent:
    """One message: when its publishing began, and when it was confirmed."""

    began: float
    confirmed: float | None = None


@dataclass
class Stay:
    """A time in which a reader was joined to a topic, and what it got: (source, number, when)."""

    since: float
    until: float = float("inf")
    got: list[tuple[str, int, float]] = field(default_factory=list)


@dataclass
class Fault:
    """One thing done to one node, or to all of them."""

    what: str
    kind: str
    index: int
    at: float = 0.0
    over: float = 0.0

    @property
    def name(self) -> str:
        """What and whom, as in the table."""
        return f"{self.what} {self.kind.removesuffix('s').replace('proxie', 'proxy')}".strip()


@dataclass
class History:
    """All of it.

    Attributes:
        began: when the first fault could come.
        sent: by source and topic; message number 1 is the first.
        stays: by reader and topic.
        gateways: the number of each reader's, from 0.
        faults: in order.
        unacknowledged: pushes that got no answer.
    """

    began: float = 0.0
    sent: dict[tuple[str, str], list[Sent]] = field(default_factory=dict)
    stays: dict[tuple[str, str], list[Stay]] = field(default_factory=dict)
    gateways: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unacknowledged: int = 0
