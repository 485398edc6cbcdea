"""The channels of one topic on a gateway; fanout.py delivers to them.

Channels that need a second look at each broadcast stand apart: joins still pending (it is held), channels
just joined (is it older than the join?), channels that intercept (does it reach them through handle_out?).
"""

from typing import Any

from gateway.channels.gateway_channel import GatewayChannel
from gateway.fanout.delivery_stats import DeliveryStats, TopicStats
from gateway.ordering.held_broadcasts import HeldBroadcasts
from gateway.transports.base import Encoding
from mesh.channel import Channel


class TopicMembers:
    """The channels of one topic on this gateway.

    Attributes:
        fast: by encoding and counts of the route: channel → its client's outbox.
        filtered: joined channels that need a look at each broadcast.
        held: channels for which broadcasts wait → those broadcasts: their join is pending, or something
            else must reach the client first.
        stats: what became of the broadcasts, by route; nearly always there is one.
    """

    __slots__ = ("fast", "filtered", "held", "stats")

    def __init__(self) -> None:
        self.fast: dict[tuple[Encoding, TopicStats], dict[GatewayChannel, Any]] = {}
        self.filtered: dict[GatewayChannel, None] = {}
        self.held: dict[GatewayChannel, HeldBroadcasts] = {}
        self.stats: dict[tuple[str, type[Channel]], TopicStats] = {}

    def stats_of(self, channel: GatewayChannel) -> TopicStats:
        """The counts that go for a channel."""
        return self.stats[channel.route.pattern, channel.route.channel]

    def __bool__(self) -> bool:
        return bool(self.fast or self.filtered or self.held)

    @property
    def joined(self) -> int:
        """How many of them are joined."""
        held = sum(channel.phase.joined for channel in self.held)
        return sum(map(len, self.fast.values())) + len(self.filtered) + held

    def channels(self) -> list[GatewayChannel]:
        """All of them."""
        return [*self.held, *self.filtered, *(channel for group in self.fast.values() for channel in group)]

    def count_in(self, channel: GatewayChannel, routes: dict[str, DeliveryStats]) -> None:
        """A channel is new here; `routes` have the counts of all topics by pattern."""
        route = channel.route
        counts = self.stats.get((route.pattern, route.channel))
        if counts is None:
            whole = routes.setdefault(route.pattern, DeliveryStats())
            counts = TopicStats.of(channel.topic, route, whole)
            self.stats[route.pattern, route.channel] = counts
        counts.members += 1

    def count_out(self, channel: GatewayChannel) -> None:
        """A channel is gone."""
        counts = self.stats_of(channel)
        counts.members -= 1
        if not counts.members:
            del self.stats[channel.route.pattern, channel.route.channel]

    def remove(self, channel: GatewayChannel) -> bool:
        """Take a channel out, to be counted out or put elsewhere; returns whether it was there."""
        if self.held.pop(channel, None) is not None:
            return True
        if channel in self.filtered:
            del self.filtered[channel]
            return True
        counts = self.stats.get((channel.route.pattern, channel.route.channel))
        if counts is None:
            return False
        key = (channel.client.encoding, counts)
        group = self.fast.get(key)
        if group is None or group.pop(channel, None) is None:
            return False
        if not group:
            del self.fast[key]
        return True

    def promote(self, channel: GatewayChannel, counts: TopicStats) -> None:
        """From now on every broadcast is younger than its join."""
        if channel.intercepts:
            return
        del self.filtered[channel]
        client = channel.client
        self.fast.setdefault((client.encoding, counts), {})[channel] = client.outbox
