"""Moves that fail, and clients that leave, rejoin or disconnect during a move."""

import pytest

from mesh.link import commands
from mesh.link.commands import Join, Joined, Leave, Moving, Reply, SocketDown
from mesh.protocol.messages import JSON, Sender
from mesh.telemetry import counters
from tests.unit.gateway.channels.moving_gateway import MOVED, NEW, OLD, pushes, scenario


def crash_before_moved(gateway):
    gateway.begin()
    gateway.push(1)
    gateway.hear(commands.Crashed(1, 0), OLD)


def lose_the_old_worker(gateway):
    gateway.begin()
    gateway.push(1)
    gateway.hub.on_lost(OLD, False)


def find_no_worker(gateway):
    gateway.workers.others.clear()
    gateway.begin()
    gateway.push(1)
    gateway.hear(MOVED, OLD)
    gateway.hub.on_unplaceable(gateway.workers.waiting[0])


def crash_in_restore(gateway):
    gateway.placed()
    gateway.push(1)
    gateway.hear(commands.Crashed(1, 0), NEW)


def refuse_it(gateway):
    gateway.placed()
    gateway.push(1)
    gateway.hear(commands.Refused(1, JSON, b'{"reason":"unmatched topic"}'), NEW)


def give_it_back(gateway):
    gateway.placed()
    gateway.push(1)
    gateway.hear(MOVED, NEW)
    assert gateway.sent() == [(NEW, SocketDown([1], "closed"))], "and no worker has it again"


@pytest.mark.parametrize(
    "fail",
    [crash_before_moved, lose_the_old_worker, find_no_worker, crash_in_restore, refuse_it, give_it_back],
)
def test_a_failed_move_is_a_crash_and_held_messages_are_answered(fail):
    @scenario
    def run(gateway):
        before = counters.value("channels_not_moved")
        fail(gateway)
        assert gateway.events() == ["phx_error", "phx_reply"]
        assert gateway.client.outbox[1][4] == {"status": "error", "response": {"reason": "unmatched topic"}}
        assert counters.value("channels_not_moved") == before + 1
        assert gateway.hub.counts()[1:] == (0, 0)
        assert gateway.bus.subscribed == []
        gateway.workers.others[:] = [NEW]
        gateway.say("2", "9", "room:1", "phx_join", {})  # and it can join again
        assert [type(each) for _, each in gateway.sent()][-1] is Join

    run()


@scenario
def test_a_channel_whose_new_worker_dies_moves_to_a_third(gateway):
    gateway.placed()
    gateway.push(1)
    gateway.broadcast(1, "held", NEW, Sender("g", 1, False, 9))
    gateway.workers.others[0] = "third"
    gateway.workers.counts["third"] = 0
    gateway.hub.on_lost(NEW, False)
    ((worker, join),) = gateway.sent()
    assert (worker, join.moved, join.data) == ("third", True, b"state")
    gateway.hear(Joined(1, (), 0, JSON, b"{}"), "third")
    assert pushes(gateway.sent()) == [("third", 1)]
    gateway.broadcast(1, "later", "third")
    assert gateway.events() == ["held", "later"]


@scenario
def test_a_leave_during_a_move_goes_to_the_new_worker(gateway):
    gateway.begin()
    gateway.say("1", "8", "room:1", "phx_leave", {})
    gateway.hear(MOVED, OLD)
    gateway.sent()
    gateway.arrive()
    assert gateway.sent() == [(NEW, Leave(1, "8"))]


@scenario
def test_a_leave_sent_before_the_move_ends_the_channel_and_a_rejoin_follows(gateway):
    gateway.say("1", "8", "room:1", "phx_leave", {})
    gateway.hear(Moving(1), OLD)
    gateway.say("2", "9", "room:1", "phx_join", {})
    gateway.hear(Reply(1, 0, "8", "ok", JSON, b"{}"), OLD)
    gateway.hear(commands.Closed(1, 0), OLD)
    assert gateway.events() == ["phx_reply", "phx_close"]
    worker, join = gateway.sent()[-1]
    assert (worker, type(join), join.channel) == (NEW, Join, 2)


@scenario
def test_a_rejoin_during_a_move_replaces_the_channel_on_the_new_worker(gateway):
    gateway.begin()
    gateway.say("2", "9", "room:1", "phx_join", {})
    gateway.hear(MOVED, OLD)
    gateway.sent()
    gateway.arrive()
    assert gateway.sent() == [(NEW, commands.Replace(1))]
    gateway.hear(commands.Closed(1, 0), NEW)
    ((worker, join),) = gateway.sent()
    assert (worker, type(join), join.channel, join.moved) == (NEW, Join, 2, False)


@scenario
def test_a_channel_that_is_being_replaced_does_not_move(gateway):
    gateway.say("2", "9", "room:1", "phx_join", {})
    gateway.sent()
    gateway.hear(Moving(1), OLD)
    assert gateway.sent() == []
    gateway.hear(commands.Closed(1, 0), OLD)
    assert [type(each) for _, each in gateway.sent()] == [Join]


@pytest.mark.parametrize("when", ["before Moved", "at the new worker", "between the workers"])
def test_a_disconnect_during_a_move_leaves_no_state(when):
    @scenario
    def run(gateway):
        before = counters.value("channels_not_moved")
        told = []
        if when == "before Moved":
            gateway.begin()
            told = [(OLD, SocketDown([1], "closed"))]
        elif when == "at the new worker":
            gateway.placed()
            told = [(NEW, SocketDown([1], "closed"))]
        else:
            gateway.workers.others.clear()
            gateway.begin()
            gateway.hear(MOVED, OLD)
        gateway.push(1)
        gateway.hub.disconnected(gateway.client, "closed")
        assert gateway.sent() == told
        assert gateway.workers.waiting == []
        assert gateway.hub.counts() == ({"websocket": 0, "longpoll": 0, "zeromq": 0}, 0, 0)
        assert gateway.bus.subscribed == []
        gateway.hear(MOVED, OLD)
        gateway.arrive()
        assert gateway.sent() == []
        lost = when == "between the workers"
        assert counters.value("channels_not_moved") == before + lost

    run()
