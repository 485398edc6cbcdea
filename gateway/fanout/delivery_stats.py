"""What became of broadcasts: counts that must add up. Pure.

Of each broadcast it is counted for how many members it came (`expected`), and what became of it for each:

    expected = delivered + filtered + dropped + held + unsent

Counting is by message and group of members, not by member: what is put into outboxes counts as delivered
until an outbox says otherwise, which is rare. A TopicStats counts for one topic on one gateway; its parent
is the DeliveryStats of its route; while somebody traces, each traced message has a child of its own.
"""

from typing import Self

from mesh.channel import Channel, SlowConsumer
from mesh.routes import Route

SENDER = "sender"
BEFORE_JOIN = "before_join"
INTERCEPTED = "intercepted"
FILTERED = (SENDER, BEFORE_JOIN, INTERCEPTED)
"""Why a member is not to get a broadcast: it made it, it joined later, it gets it through handle_out."""

CONFLATED = "conflated"
DROPPED_OLDEST = "dropped_oldest"
SLOW_CLIENT = "slow_client_closed"
CLIENT_GONE = "client_gone"
CHANNEL_ENDED = "channel_ended"
JOIN_FAILED = "join_failed"
HELD_OVERFLOW = "held_overflow"
UNENCODABLE = "unencodable"
MALFORMED = "malformed"
DROPPED = (
    CONFLATED,
    DROPPED_OLDEST,
    SLOW_CLIENT,
    CLIENT_GONE,
    CHANNEL_ENDED,
    JOIN_FAILED,
    HELD_OVERFLOW,
    UNENCODABLE,
    MALFORMED,
)
"""Why a member that is to get a broadcast does not."""


class DeliveryStats:
    """Counts of a route, a topic or a message.

    Attributes:
        messages: broadcasts that came.
        expected: members at that moment, summed over them.
        filtered: by reason; only reasons that occurred.
        dropped: by reason; only reasons that occurred.
        held: broadcasts that wait now for a join, or for what must come before them.
        unsent: broadcasts that wait now for a client.
    """

    __slots__ = ("_queued", "dropped", "expected", "filtered", "held", "messages", "parent", "unsent")

    def __init__(self, parent: "DeliveryStats | None" = None) -> None:
        self.parent = parent
        self.messages = 0
        self.expected = 0
        self.filtered: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.held = 0
        self.unsent = 0
        self._queued = 0

    @property
    def delivered(self) -> int:
        """What the kernel, ZeroMQ or a poll has taken."""
        return self._queued - self.unsent

    def arrive(self, members: int) -> None:
        """A broadcast came, for so many members."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.messages += 1
            stats.expected += members
            stats = stats.parent

    def expect(self, members: int) -> None:
        """It is for so many more."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.expected += members
            stats = stats.parent

    def queue(self, members: int) -> None:
        """It was put into the outboxes of so many."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats._queued += members
            stats = stats.parent

    def filter(self, reason: str, members: int = 1) -> None:
        """It is not for so many."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.filtered[reason] = stats.filtered.get(reason, 0) + members
            stats = stats.parent

    def drop(self, reason: str, members: int = 1) -> None:
        """So many do not get it, and it was in no outbox."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.dropped[reason] = stats.dropped.get(reason, 0) + members
            stats = stats.parent

    def lose(self, reason: str) -> None:
        """It was in an outbox, and one does not get it."""
        self.queue(-1)
        self.drop(reason)

    def hold(self, number: int = 1) -> None:
        """It waits for a join; -1: no longer."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.held += number
            stats = stats.parent

    def wait(self, number: int = 1) -> None:
        """It waits for a client; -1: no longer."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.unsent += number
            stats = stats.parent


class TopicStats(DeliveryStats):
    """The counts of one topic whose members came by one route, and what its class says of slow clients.

    Attributes:
        topic: whose.
        members: channels joined or joining now.
        policy: of its Channel class.
        max_behind: of its Channel class.
    """

    __slots__ = ("max_behind", "members", "policy", "topic")

    def __init__(self, topic: str, policy: SlowConsumer, max_behind: int, parent: DeliveryStats) -> None:
        super().__init__(parent)
        self.topic = topic
        self.policy = policy
        self.max_behind = max_behind
        self.members = 0

    @classmethod
    def of(cls, topic: str, route: Route[type[Channel]], parent: DeliveryStats) -> Self:
        """That of a topic."""
        return cls(topic, route.channel.slow_consumer, route.channel.max_behind_messages, parent)

    def child(self) -> "TopicStats":
        """That of one message on this topic."""
        return TopicStats(self.topic, self.policy, self.max_behind, self)
