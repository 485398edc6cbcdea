"""gateway/ordering/ordering.py: what of a bus and of links comes out, and in which order."""

import asyncio
from types import SimpleNamespace

from mesh.app.channel import Channel
from mesh.app.routes import Route
from mesh.bus.frames import BROADCAST, VERSION, Received
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.frames import BroadcastFrames
from mesh.gateway.ordering.held_broadcasts import HeldBroadcast, HeldBroadcasts
from mesh.gateway.ordering.numbers import Relation, commands_before, relation_to_join
from mesh.gateway.ordering.ordering import Ordering
from mesh.link import commands
from mesh.protocol.messages import JSON, Message, Sender
from tests.support.bus import Bus
from tests.support.gateway_channels import answer, place
from tests.support.until import until

WORKER = "w"


class Out:
    """What comes out, and the broadcasts held for the one channel there is."""

    def __init__(self, hold_seconds=60.0):
        self.heard, self.held, self.received, self.bus = [], None, 1, Bus()
        join = Message("1", "1", "room:1", "phx_join", JSON, b"{}")
        self.channel = GatewayChannel(1, Route("room:*", Channel), join, None)
        place(self.channel, WORKER)
        answer(self.channel)
        self.ordering = Ordering(
            "g", self, self, {1: self.channel}, self.bus, lambda _: self.received, hold_seconds
        )

    # From outside

    def broadcast(self, sequence, behind=0, topic="room:1", origin=WORKER):
        self.bus.came.add((origin, sequence))
        sender = Sender("g", 1, False, behind)
        header = Received(VERSION, BROADCAST, origin, sequence, f"b{sequence}", JSON, sender)
        self.ordering.on_broadcast(topic, header, b"{}")

    def push(self, event, after=0, worker=WORKER):
        self.received += 1
        self.ordering.on_command(worker, commands.Pushed(1, after, event, JSON, b"{}"))

    # What the ordering calls

    def deliver(self, topic, header, data):
        if self.held is None:
            self.heard.append(header.event)
        else:
            behind = commands_before(header, "g", self.channel)
            counts = SimpleNamespace(hold=lambda *_: None)
            self.held.add(HeldBroadcast(BroadcastFrames(header, data, {}), False, behind, counts, 2))

    def deliver_local(self, worker, broadcast):
        self.heard.append(broadcast.event)

    def carry(self, channel, command):
        self.heard.append(command.event)

    def hold(self, channel):
        self.held = self.held or HeldBroadcasts()

    def release(self, channel, received):
        self.heard += [each.frames.header.event for each in self.held.due(received)]
        if not self.held:
            self.held = None

    def forget_commands(self, channel):
        self.hold(channel)
        self.held.forget_commands()


def scenario(test):
    def run():
        async def main():
            test(Out())

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@scenario
def test_a_command_waits_for_the_broadcast_before_it_and_not_for_another_topic(out):
    out.push("p1", after=7)
    out.broadcast(6, topic="room:2")
    assert out.heard == ["b6"]
    out.broadcast(7)
    assert out.heard == ["b6", "b7", "p1"]


@scenario
def test_a_broadcast_waits_for_the_commands_before_it_and_later_ones_do_not_overtake_it(out):
    out.broadcast(1, behind=3)
    out.broadcast(2)
    assert out.heard == []
    out.push("p1")
    assert out.heard == ["p1"]
    out.push("p2")
    assert out.heard == ["p1", "p2", "b1", "b2"]


@scenario
def test_both_ways_at_once_come_out_as_they_were_made(out):
    """push p1, broadcast 1, push p2, broadcast 2; the bus is quicker, and the link is late."""
    out.broadcast(1, behind=2)
    out.broadcast(2, behind=3)
    out.push("p1")
    out.push("p2", after=1)
    assert out.heard == ["p1", "b1", "p2", "b2"]


@scenario
def test_broadcasts_for_members_of_one_worker_keep_their_place_among_its_commands(out):
    out.received += 1
    out.ordering.on_command(WORKER, commands.Broadcast("room:1", 5, "diff", JSON, b"{}"))
    assert out.heard == []
    out.broadcast(5)
    assert out.heard == ["b5", "diff"]


@scenario
def test_what_was_broadcast_before_the_join_is_not_waited_for(out):
    out.channel.since = 5
    out.push("p1", after=5)
    assert out.heard == ["p1"]


@scenario
def test_a_worker_that_no_longer_runs_the_channel_says_nothing_of_it(out):
    out.push("p1", worker="another")
    out.push("p2", after=9)
    out.channel.worker = "another"
    out.broadcast(9)
    assert out.heard == ["b9"]


@scenario
def test_a_worker_that_is_gone_is_waited_for_no_longer(out):
    out.push("p1", after=9)
    out.broadcast(1, behind=9)
    assert out.heard == []
    out.ordering.worker_lost(WORKER)
    out.ordering.channel_lost(out.channel)
    assert out.heard == ["p1"]
    out.ordering.joined(out.channel)
    assert out.heard == ["p1", "b1"]


@scenario
def test_a_ping_lets_what_waits_for_it_go_out(out):
    out.broadcast(1, behind=2)
    out.received += 1
    out.ordering.on_command(WORKER, commands.Ping())
    assert out.heard == ["b1"]


def test_only_the_channels_worker_tells_what_was_before_its_join():
    channel = SimpleNamespace(worker=WORKER, since=5, recovery=None)

    def relation(origin, sequence):
        return relation_to_join(channel, Received(VERSION, BROADCAST, origin, sequence, "e", JSON))

    assert relation(WORKER, 5) is Relation.BEFORE
    assert relation(WORKER, 6) is Relation.AFTER
    assert relation("elsewhere", 5) is Relation.NONE


@scenario
def test_what_another_node_says_of_a_channels_commands_is_ignored(out):
    out.hold(out.channel)  # as while its join is pending
    out.broadcast(1, behind=2**60, origin="another")
    out.ordering.joined(out.channel)
    assert out.heard == ["b1"]


def test_a_worker_that_counts_its_commands_wrong_delays_its_broadcasts_once():
    async def main():
        out = Out(hold_seconds=0.001)
        out.broadcast(1, behind=3)
        out.broadcast(2, behind=2**60)
        out.received = 3
        out.ordering.on_command(WORKER, commands.Ping())
        assert out.heard == ["b1"]
        await until(lambda: out.heard == ["b1", "b2"])
        out.broadcast(3, behind=2**60)
        assert out.heard == ["b1", "b2", "b3"], "at once"
        out.ordering.worker_lost(WORKER)
        out.broadcast(4, behind=4)
        assert out.heard == ["b1", "b2", "b3"], "its next link counts from zero"

    asyncio.run(main())
