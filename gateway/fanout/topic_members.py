"""The channels of one topic on a gateway, grouped by how fanout.py delivers to them.

Most channels receive every broadcast without further checks. Those that need a check for each broadcast are
kept apart: channels for which broadcasts are held, channels joined so recently that a broadcast may be
older than the join, and channels that intercept events. Channels whose clients asked for positions receive
other frames of recorded broadcasts, so they have groups of their own.
"""

from typing import Any

from mesh.app.channel import Channel
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.delivery_stats import DeliveryStats, TopicStats
from mesh.gateway.fanout.topic_position import TopicPosition
from mesh.gateway.ordering.held_broadcasts import HeldBroadcasts
from mesh.gateway.transports.base import Encoding

Groups = dict[tuple[Encoding, TopicStats], dict[GatewayChannel, Any]]
"""For each encoding and counts of a route, the channels and their clients' outboxes."""


class TopicMembers:
    """The channels of one topic on this gateway.

    Attributes:
        fast: channels that receive every broadcast without further checks.
        positioned: those of them that asked for positions.
        filtered: joined channels that need a check for each broadcast.
        held: the channels for which broadcasts are held, because their join is pending or commands must
            reach the client first, and those broadcasts.
        position: the position in the topic's history; None before the first recorded broadcast.
        stats: the counts by route; nearly always there is one route.
    """

    __slots__ = ("fast", "filtered", "held", "position", "positioned", "stats")

    def __init__(self) -> None:
        self.fast: Groups = {}
        self.positioned: Groups = {}
        self.filtered: dict[GatewayChannel, None] = {}
        self.held: dict[GatewayChannel, HeldBroadcasts] = {}
        self.position: TopicPosition | None = None
        self.stats: dict[tuple[str, type[Channel]], TopicStats] = {}

    def stats_of(self, channel: GatewayChannel) -> TopicStats:
        """Return the counts for a channel's route."""
        return self.stats[channel.route.pattern, channel.route.channel]

    def __bool__(self) -> bool:
        return bool(self.fast or self.filtered or self.held or self.positioned)

    @property
    def joined(self) -> int:
        """The number of joined channels."""
        held = sum(channel.phase.joined for channel in self.held)
        grouped = sum(map(len, self.fast.values())) + sum(map(len, self.positioned.values()))
        return grouped + len(self.filtered) + held

    def channels(self) -> list[GatewayChannel]:
        """Return all channels."""
        groups = (*self.fast.values(), *self.positioned.values())
        return [*self.held, *self.filtered, *(channel for group in groups for channel in group)]

    def count_in(self, channel: GatewayChannel, routes: dict[str, DeliveryStats]) -> None:
        """Count a new channel; `routes` has the counts of all topics by pattern."""
        route = channel.route
        counts = self.stats.get((route.pattern, route.channel))
        if counts is None:
            whole = routes.setdefault(route.pattern, DeliveryStats())
            counts = TopicStats.of(channel.topic, route, whole)
            self.stats[route.pattern, route.channel] = counts
        counts.members += 1

    def count_out(self, channel: GatewayChannel) -> None:
        """Count a channel as gone."""
        counts = self.stats_of(channel)
        counts.members -= 1
        if not counts.members:
            del self.stats[channel.route.pattern, channel.route.channel]

    def remove(self, channel: GatewayChannel) -> bool:
        """Remove a channel from its group without counting it as gone; return whether it was in one."""
        if self.held.pop(channel, None) is not None:
            return True
        if channel in self.filtered:
            del self.filtered[channel]
            return True
        counts = self.stats.get((channel.route.pattern, channel.route.channel))
        if counts is None:
            return False
        key, groups = (channel.client.encoding, counts), self._groups_of(channel)
        group = groups.get(key)
        if group is None or group.pop(channel, None) is None:
            return False
        if not group:
            del groups[key]
        return True

    def promote(self, channel: GatewayChannel, counts: TopicStats) -> None:
        """Move a channel to its fast group, because every later broadcast is newer than its join."""
        if channel.intercepts:
            return
        del self.filtered[channel]
        if channel.recovery is not None:
            channel.recovery.live = True
        client = channel.client
        self._groups_of(channel).setdefault((client.encoding, counts), {})[channel] = client.outbox

    def _groups_of(self, channel: GatewayChannel) -> Groups:
        return self.fast if channel.recovery is None else self.positioned
