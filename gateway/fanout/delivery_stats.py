"""Counts the outcome of broadcasts; the counts must add up. Pure.

For each broadcast, the members that it was for (`expected`) and the outcome for each of them are counted:

    expected = delivered + filtered + dropped + held + unsent

To keep this cheap, a message is counted once for a group of members rather than once for each member:
whatever is put into outboxes counts as delivered until an outbox reports otherwise, which is rare. A
TopicStats counts for one topic on one gateway; its parent is the DeliveryStats of its route. During a
trace, each traced message has a child of its own, whose counts are added to the topic's.
"""

from typing import Self

from mesh.app.channel import Channel, SlowConsumer
from mesh.app.routes import Route

SENDER = "sender"
BEFORE_JOIN = "before_join"
INTERCEPTED = "intercepted"
FILTERED = (SENDER, BEFORE_JOIN, INTERCEPTED)
"""Reasons why a broadcast is not for a member: it sent it, it joined later, it intercepts the event."""

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
"""Reasons why a member does not receive a broadcast that is for it."""


class DeliveryStats:
    """The counts of a route, a topic or a message.

    Attributes:
        parent: also counts everything that is counted here.
        messages: the broadcasts that arrived.
        expected: the members at the time of each broadcast, summed over the broadcasts.
        filtered: the counts by reason, for reasons that occurred.
        dropped: the counts by reason, for reasons that occurred.
        held: the broadcasts that now wait for a join, or for commands before them.
        unsent: the broadcasts that now wait for a client.
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
        """The broadcasts that the kernel, ZeroMQ or a poll has accepted."""
        return self._queued - self.unsent

    def arrive(self, members: int) -> None:
        """Count a broadcast that arrived for this number of members."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.messages += 1
            stats.expected += members
            stats = stats.parent

    def expect(self, members: int) -> None:
        """Count further members that a broadcast is for."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.expected += members
            stats = stats.parent

    def queue(self, members: int) -> None:
        """Count a broadcast put into the outboxes of this number of members."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats._queued += members
            stats = stats.parent

    def filter(self, reason: str, members: int = 1) -> None:
        """Count members that a broadcast is not for."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.filtered[reason] = stats.filtered.get(reason, 0) + members
            stats = stats.parent

    def drop(self, reason: str, members: int = 1) -> None:
        """Count members that do not receive a broadcast, before it was put into their outboxes."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.dropped[reason] = stats.dropped.get(reason, 0) + members
            stats = stats.parent

    def lose(self, reason: str) -> None:
        """Count a broadcast that is dropped from one member's outbox."""
        self.queue(-1)
        self.drop(reason)

    def hold(self, number: int = 1) -> None:
        """Count a broadcast that is held; -1 if it is no longer held."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.held += number
            stats = stats.parent

    def wait(self, number: int = 1) -> None:
        """Count a broadcast that waits for a client; -1 if it no longer waits."""
        stats: DeliveryStats | None = self
        while stats is not None:
            stats.unsent += number
            stats = stats.parent


class TopicStats(DeliveryStats):
    """The counts of one topic for the members of one route, and the slow-consumer policy of its class.

    Attributes:
        topic: the topic.
        members: the channels joined or joining now.
        policy: `slow_consumer` of the Channel class.
        max_behind: `max_behind_messages` of the Channel class.
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
        """Make the counts of a topic."""
        return cls(topic, route.channel.slow_consumer, route.channel.max_behind_messages, parent)

    def child(self) -> "TopicStats":
        """Make the counts of one message on this topic."""
        return TopicStats(self.topic, self.policy, self.max_behind, self)
