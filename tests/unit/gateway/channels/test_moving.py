"""A channel moves from a draining worker to another one, unnoticed by its client."""

from mesh.link import commands
from mesh.link.commands import Handover, Join, Moved, Moving, Push, Pushed, Reply
from mesh.protocol.messages import JSON, Sender
from tests.unit.gateway.channels.moving_gateway import MOVED, NEW, OLD, pushes, scenario


@scenario
def test_pushes_during_a_move_reach_the_new_worker_in_order(gateway):
    gateway.push(1)
    gateway.hear(Moving(1), OLD)
    gateway.push(2)
    assert [type(each) for _, each in gateway.sent()] == [Push, Handover], "the marker comes last"
    gateway.hear(Reply(1, 0, "1", "ok", JSON, b"{}"), OLD)
    gateway.push(3)
    gateway.hear(MOVED, OLD)
    gateway.push(4)
    ((worker, join),) = gateway.sent()
    assert (worker, type(join)) == (NEW, Join)
    gateway.arrive()
    gateway.push(5)
    assert pushes(gateway.sent()) == [(NEW, 2), (NEW, 3), (NEW, 4), (NEW, 5)]
    assert gateway.events() == ["phx_reply"], "the client hears of no move"


@scenario
def test_broadcasts_and_pushes_reach_the_client_throughout_a_move(gateway):
    gateway.broadcast(6, "one")
    gateway.begin()
    gateway.broadcast(7, "two")
    gateway.hear(Pushed(1, 7, "three", JSON, b"{}"), OLD)
    gateway.hear(Moved(1, 7, b"", b""), OLD)
    gateway.broadcast(8, "four", "elsewhere")
    gateway.broadcast(8, "five", OLD)
    gateway.broadcast(1, "six", NEW)
    gateway.hear(Pushed(1, 1, "seven", JSON, b"{}"), NEW)
    gateway.arrive()
    gateway.broadcast(2, "eight", NEW)
    gateway.hear(Pushed(1, 2, "nine", JSON, b"{}"), NEW)
    assert gateway.events() == ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@scenario
def test_a_move_waits_for_the_last_broadcast_of_the_old_worker(gateway):
    gateway.begin()
    gateway.hear(Moved(1, 9, b"", b""), OLD)
    assert gateway.sent() == []
    gateway.broadcast(9, "last")
    assert [type(each) for _, each in gateway.sent()] == [Join]


@scenario
def test_reading_pauses_while_too_much_is_held_for_a_move(gateway):
    gateway.begin()
    for number in range(20):
        gateway.push(number)
    assert gateway.client.transport.paused
    gateway.hear(MOVED, OLD)
    gateway.arrive()
    assert not gateway.client.transport.paused
    assert pushes(gateway.sent()) == [(NEW, number) for number in range(20)]


@scenario
def test_the_new_worker_may_intercept_other_events(gateway):
    gateway.broadcast(6, "secret")
    gateway.broadcast(7, "secret")
    gateway.placed()
    gateway.arrive(("secret",))
    gateway.broadcast(1, "secret", NEW)
    gateway.broadcast(2, "open", NEW)
    assert gateway.events() == ["secret", "secret", "open"]


@scenario
def test_a_broadcast_made_in_restore_follows_the_push_before_it(gateway):
    gateway.placed()
    gateway.broadcast(1, "second", NEW, Sender("g", 1, False, 1))
    assert gateway.events() == []
    gateway.hear(Pushed(1, 0, "first", JSON, b"{}"), NEW)
    assert gateway.events() == ["first", "second"]
    gateway.arrive()
    gateway.broadcast(2, "third", NEW)
    assert gateway.events() == ["first", "second", "third"]


@scenario
def test_a_move_waits_for_another_worker(gateway):
    gateway.workers.others.clear()
    gateway.begin()
    gateway.hear(MOVED, OLD)
    gateway.push(1)
    assert gateway.sent() == []
    gateway.hub.on_lost(OLD, False)  # its link has ended; the channel is no longer there
    assert gateway.events() == []
    gateway.workers.others.append(NEW)
    gateway.hub.on_placeable(gateway.workers.waiting[0])
    gateway.arrive()
    assert [type(each) for _, each in gateway.sent()] == [Join, Push]


@scenario
def test_a_moving_channel_counts_as_joined(gateway):
    gateway.begin()
    assert gateway.hub.sockets()[0].channels == {"room:1": "joined"}
    assert gateway.hub.fanout.members("room:1") == 1
    local = commands.Broadcast("room:1", 0, "presence_diff", JSON, b"{}")
    gateway.hear(local, OLD)
    gateway.hear(MOVED, OLD)
    gateway.hear(local, NEW)
    gateway.hear(local, OLD)  # no longer its worker
    assert gateway.events() == ["presence_diff"] * 2
