"""gateway: a channel whose worker stops goes to another, and its client hears nothing of it."""

import asyncio
import json

import pytest

from gateway.joins.worker_links import WorkerLinks
from mesh import settings
from mesh.bus.discovery.placement import Announcement
from mesh.link import commands
from mesh.link.commands import Handover, Join, Joined, Leave, Moved, Moving, Push, Pushed, Reply, SocketDown
from mesh.messages import JSON, MSGPACK, Sender
from mesh.telemetry import counters
from tests.support import hub

OLD, NEW = hub.WORKER, "new"
MOVED = Moved(1, 0, b"assigns", b"luggage")


class TwoWorkers(hub.Workers):
    """Place on the old one until it drains, then on those in `others`; `sent` says to whom."""

    def __init__(self):
        super().__init__()
        self.at, self.others, self.waiting = OLD, [NEW], []
        self.counts[NEW] = 0

    def place(self, mount, channel, key):
        if self.at == OLD:
            return OLD
        if self.others:
            return self.others[0]
        self.waiting.append(channel)
        return None

    def mark_draining(self, worker):
        assert worker == OLD
        self.at = NEW

    def send(self, worker, command):
        self.sent.append((worker, command))

    def forget(self, channel):
        self.waiting = [each for each in self.waiting if each is not channel]


class Gateway(hub.Gateway):
    """A hub with one client, joined to room:1, its channel 1 on the old worker."""

    def __init__(self):
        super().__init__(TwoWorkers(), max_pending_bytes=1_000)
        self.say("1", "1", "room:1", "phx_join", {})
        self.hear(Joined(1, (), 5, JSON, b"{}"), OLD)
        self.client.outbox.clear()
        self.sent()

    def sent(self):
        """What workers were sent since."""
        sent, self.workers.sent = self.workers.sent, []
        return sent

    def push(self, number):
        self.say("1", str(number), "room:1", "e", {"n": number})

    def begin(self):
        self.hear(Moving(1), OLD)
        assert self.sent() == [(OLD, Handover(1))]

    def placed(self):
        """Until the new worker has what the old one gave."""
        self.begin()
        self.hear(MOVED, OLD)
        ((worker, join),) = self.sent()
        assert (worker, join.channel, join.topic, join.moved) == (NEW, 1, "room:1", True)
        assert (join.assigns, join.codec, join.data) == (b"assigns", MSGPACK, b"luggage")

    def arrive(self, intercepts=()):
        self.hear(Joined(1, intercepts, 77, JSON, b"{}"), NEW)


scenario = hub.scenario_with(Gateway)


def pushes(sent):
    return [(worker, json.loads(each.data)["n"]) for worker, each in sent if isinstance(each, Push)]


@scenario
def test_what_the_client_sends_waits_and_reaches_the_new_worker_in_order(gateway):
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
def test_broadcasts_and_pushes_go_on_flowing(gateway):
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
def test_the_move_itself_waits_for_the_last_broadcast_of_the_old_worker(gateway):
    gateway.begin()
    gateway.hear(Moved(1, 9, b"", b""), OLD)
    assert gateway.sent() == []
    gateway.broadcast(9, "last")
    assert [type(each) for _, each in gateway.sent()] == [Join]


@scenario
def test_reading_pauses_while_too_much_waits(gateway):
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
def test_what_the_channel_broadcasts_in_restore_follows_what_it_pushed_there(gateway):
    gateway.placed()
    gateway.broadcast(1, "second", NEW, Sender("g", 1, False, 1))
    assert gateway.events() == []
    gateway.hear(Pushed(1, 0, "first", JSON, b"{}"), NEW)
    assert gateway.events() == ["first", "second"]
    gateway.arrive()
    gateway.broadcast(2, "third", NEW)
    assert gateway.events() == ["first", "second", "third"]


@scenario
def test_without_another_worker_it_waits_and_then_goes_on(gateway):
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


@pytest.mark.parametrize(
    "fail", [crash_before_moved, lose_the_old_worker, find_no_worker, crash_in_restore, refuse_it]
)
def test_a_move_that_fails_is_a_crash_and_what_waited_is_answered(fail):
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
def test_the_worker_it_goes_to_may_die_too_and_a_third_takes_it(gateway):
    gateway.placed()
    gateway.push(1)
    gateway.broadcast(1, "held", NEW, Sender("g", 1, False, 9))
    gateway.workers.others[0] = "third"
    gateway.workers.counts["third"] = 0
    gateway.hub.on_lost(NEW, False)
    ((worker, join),) = gateway.sent()
    assert (worker, join.moved, join.data) == ("third", True, b"luggage")
    gateway.hear(Joined(1, (), 0, JSON, b"{}"), "third")
    assert pushes(gateway.sent()) == [("third", 1)]
    gateway.broadcast(1, "later", "third")
    assert gateway.events() == ["held", "later"]


@scenario
def test_a_client_that_leaves_meanwhile_leaves_the_new_worker(gateway):
    gateway.begin()
    gateway.say("1", "8", "room:1", "phx_leave", {})
    gateway.hear(MOVED, OLD)
    gateway.sent()
    gateway.arrive()
    assert gateway.sent() == [(NEW, Leave(1, "8"))]


@scenario
def test_a_leave_that_was_on_its_way_ends_the_channel_and_not_the_client(gateway):
    gateway.say("1", "8", "room:1", "phx_leave", {})
    gateway.hear(Moving(1), OLD)
    gateway.say("2", "9", "room:1", "phx_join", {})
    gateway.hear(Reply(1, 0, "8", "ok", JSON, b"{}"), OLD)
    gateway.hear(commands.Closed(1, 0), OLD)
    assert gateway.events() == ["phx_reply", "phx_close"]
    worker, join = gateway.sent()[-1]
    assert (worker, type(join), join.channel) == (NEW, Join, 2)


@scenario
def test_a_client_that_joins_anew_meanwhile_replaces_the_channel_on_the_new_worker(gateway):
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
def test_a_client_that_is_gone_meanwhile_leaves_nothing_behind(when):
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


@scenario
def test_a_channel_that_moves_is_joined_for_everybody_else(gateway):
    gateway.begin()
    assert gateway.hub.sockets()[0].channels == {"room:1": "joined"}
    assert gateway.hub.fanout.members("room:1") == 1
    local = commands.Broadcast("room:1", 0, "presence_diff", JSON, b"{}")
    gateway.hear(local, OLD)
    gateway.hear(MOVED, OLD)
    gateway.hear(local, NEW)
    gateway.hear(local, OLD)  # no longer its worker
    assert gateway.events() == ["presence_diff"] * 2


class Dealer:
    def __init__(self, version):
        self.version = version


class Announcer:
    pass


class Handler:
    """Remembers whom no worker takes; tries again with whom one may take."""

    def __init__(self):
        self.links, self.unplaceable = None, []

    def on_unplaceable(self, channel):
        self.unplaceable.append(channel)

    def on_placeable(self, channel):
        self.links.place("/socket", channel, "")

    def on_linked(self, worker): ...

    def on_command(self, worker, command): ...

    def on_behind(self, worker, much): ...


def workers(**versions):
    handler = Handler()
    made = handler.links = WorkerLinks(handler, None, "g", Announcer(), settings.load().link, 60.0, 10)
    made._dealers = {name: Dealer(version) for name, version in versions.items()}
    made._routes = {("/socket", "room:*"): list(versions)} if versions else {}
    return made


def without_worker(gateway):
    """Its channel, which has left its worker and has no other."""
    gateway.workers.others.clear()
    gateway.begin()
    gateway.hear(MOVED, OLD)
    (channel,) = gateway.hub._channels.values()
    return channel


@scenario
def test_a_channel_moves_only_to_a_worker_that_understands_it(gateway):
    channel = without_worker(gateway)
    assert workers(a=1, b=2, c=1).place("/socket", channel, "") == "b"
    of_two = workers(a=2, b=2)
    of_two.mark_draining("a")
    assert of_two.place("/socket", channel, "") == "b"


def test_without_any_that_understands_it_is_told_at_once_and_without_any_at_all_it_waits():
    async def main():
        channel = without_worker(Gateway())
        older, none = workers(a=1), workers()
        for each in (older, none):
            assert each.place("/socket", channel, "") is None
        await asyncio.sleep(0)
        assert [each._handler.unplaceable for each in (older, none)] == [[channel], []]
        assert (older._waiting.deadlines, list(none._waiting.deadlines)) == ({}, [channel])

    asyncio.run(main())


def test_a_join_that_waits_waits_no_longer_for_workers_that_come_for_others():
    async def main():
        channel = without_worker(Gateway())
        waits = workers()
        assert waits.place("/socket", channel, "") is None
        before = dict(waits._waiting.deadlines)
        await asyncio.sleep(0.001)
        waits._announcer.placement = {
            "other": Announcement(node="other", kind="worker", routes=(("/socket", "else:*"),))
        }
        waits._up("other")
        assert waits._waiting.deadlines == before
        waits._announcer.placement = {
            "ours": Announcement(node="ours", kind="worker", routes=(("/socket", "room:*"),))
        }
        waits._dealers["ours"] = Dealer(2)
        waits._up("ours")
        assert waits._waiting.deadlines == {}

    asyncio.run(main())
