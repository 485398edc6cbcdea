"""The channels of one topic on a gateway, and the broadcasts held for them; fanout.py delivers.

Channels that need a second look at each broadcast stand apart: joins still pending (it is held), channels
just joined (is it older than the join?), channels that intercept (does it reach them through handle_out?).
"""

from typing import Any, NamedTuple

from gateway.channels.gateway_channel import ChannelState
from gateway.fanout.delivery_stats import Ledger, Tally
from gateway.transports.base import Encoding
from mesh.channel import Channel


class Held(NamedTuple):
    """A broadcast that waits: for a join to be answered, for `behind` commands to have come."""

    origin: str
    sequence: int
    event: str
    frame: Any
    behind: int
    ledger: Ledger
    size: int


class Waiting:
    """The broadcasts that wait for one channel, the oldest first, and the bytes of their payloads."""

    __slots__ = ("broadcasts", "size")

    def __init__(self) -> None:
        self.broadcasts: list[Held] = []
        self.size = 0

    def add(self, held: Held) -> None:
        """One more."""
        self.broadcasts.append(held)
        self.size += held.size

    def release(self, number: int) -> None:
        """The first ones wait no longer."""
        self.size -= sum(held.size for held in self.broadcasts[:number])
        del self.broadcasts[:number]

    def drop(self, reason: str) -> None:
        """None of them is delivered."""
        for held in self.broadcasts:
            held.ledger.hold(-1)
            held.ledger.drop(reason)
        self.broadcasts, self.size = [], 0

    def release_order(self) -> None:
        """They wait for no command any more."""
        self.broadcasts = [held._replace(behind=0) for held in self.broadcasts]


class Members:
    """The channels of one topic on this gateway.

    Attributes:
        plain: by encoding and ledger: channel → its client's outbox.
        careful: joined channels that need a look at each broadcast.
        held: channels for which broadcasts wait → those broadcasts: their join is pending, or something
            else must reach the client first.
        ledgers: what became of the broadcasts, by route; nearly always there is one.
    """

    __slots__ = ("careful", "held", "ledgers", "plain")

    def __init__(self) -> None:
        self.plain: dict[tuple[Encoding, Ledger], dict[ChannelState, Any]] = {}
        self.careful: dict[ChannelState, None] = {}
        self.held: dict[ChannelState, Waiting] = {}
        self.ledgers: dict[tuple[str, type[Channel]], Ledger] = {}

    def ledger(self, channel: ChannelState) -> Ledger:
        """The counts that go for a channel."""
        return self.ledgers[channel.route.pattern, channel.route.channel]

    def __bool__(self) -> bool:
        return bool(self.plain or self.careful or self.held)

    @property
    def joined(self) -> int:
        """How many of them are joined."""
        held = sum(channel.joined for channel in self.held)
        return sum(map(len, self.plain.values())) + len(self.careful) + held

    def channels(self) -> list[ChannelState]:
        """All of them."""
        return [*self.held, *self.careful, *(channel for group in self.plain.values() for channel in group)]

    def count_in(self, channel: ChannelState, routes: dict[str, Tally]) -> None:
        """A channel is new here; `routes` have the counts of all topics by pattern."""
        route = channel.route
        ledger = self.ledgers.get((route.pattern, route.channel))
        if ledger is None:
            whole = routes.setdefault(route.pattern, Tally())
            ledger = Ledger.of(channel.topic, route, whole)
            self.ledgers[route.pattern, route.channel] = ledger
        ledger.members += 1

    def count_out(self, channel: ChannelState) -> None:
        """A channel is gone."""
        ledger = self.ledger(channel)
        ledger.members -= 1
        if not ledger.members:
            del self.ledgers[channel.route.pattern, channel.route.channel]

    def remove(self, channel: ChannelState) -> bool:
        """Take a channel out, to be counted out or put elsewhere; returns whether it was there."""
        if self.held.pop(channel, None) is not None:
            return True
        if channel in self.careful:
            del self.careful[channel]
            return True
        ledger = self.ledgers.get((channel.route.pattern, channel.route.channel))
        if ledger is None:
            return False
        key = (channel.client.encoding, ledger)
        group = self.plain.get(key)
        if group is None or group.pop(channel, None) is None:
            return False
        if not group:
            del self.plain[key]
        return True

    def promote(self, channel: ChannelState, ledger: Ledger) -> None:
        """From now on every broadcast is younger than its join."""
        if channel.intercepts:
            return
        del self.careful[channel]
        client = channel.client
        self.plain.setdefault((client.encoding, ledger), {})[channel] = client.outbox
