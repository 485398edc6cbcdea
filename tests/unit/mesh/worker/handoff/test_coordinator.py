"""mesh/worker: channels that move, from a worker that stops to another; the gateway between them is the test."""

import asyncio
import gc

import msgspec
import pytest

from mesh import Channel, Endpoint, Presence, Route, SocketHandler, on, telemetry
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.messages import JSON, Sender
from mesh.settings import PresenceSettings, WorkerSettings
from mesh.telemetry import counters
from mesh.worker.channel.server import MAILS_PER_RUN, ChannelServer
from mesh.worker.channels import Channels
from mesh.worker.handoff.state import unpack
from mesh.worker.presence.registry import PresenceRegistry
from tests.support.bus import NumberingBus
from tests.support.until import until

LINK = b"link"

presence = Presence()


class Mover(Channel):
    intercept = ("secret",)
    ended = []

    def join(self, topic, payload):
        self.got = []

    @on("n")
    async def n(self, payload):
        await asyncio.sleep(payload.get("seconds", 0))
        self.got.append(payload["n"])
        return {"got": self.got}

    @on("do")
    async def do(self, payload):
        self.how = payload
        if "assign" in payload:
            self.assign(payload["assign"])
        if "subscribe" in payload:
            await self.subscribe(payload["subscribe"])
        if "broadcast" in payload:
            self.broadcast("said", {})
        if "later" in payload:
            self.send("later", payload["later"])
        if "track" in payload:
            presence.track(self, payload["track"])
        return {}

    def handle_out(self, event, payload):
        self.got.append(["out", payload["n"]])

    def handle_info(self, message):
        self.got.append(["info", message if isinstance(message, str) else message.topic])
        if message == "spin":
            self.send("spin")

    async def snapshot(self):
        how = getattr(self, "how", {})
        if "raise" in how:
            raise RuntimeError("on request")
        if "nothing" in how:
            return None
        if "stop" in how:
            self.stop()
        if "slow" in how:
            await asyncio.sleep(how["slow"])
        return {"got": list(self.got), **({"how": how} if how else {})}

    async def restore(self, state):
        how = state.get("how", {})
        if "slow_restore" in how:
            await asyncio.sleep(how["slow_restore"])
        if "bad_restore" in how:
            raise RuntimeError("on request")
        if "wrong_restore" in how:
            return {"reply": 1}
        self.got = state["got"]
        self.push("restored", {"assigns": {k: v for k, v in self.assigns.items() if k != "service"}})

    def terminate(self, reason):
        self.ended.append((str(reason), getattr(self, "got", None)))


class Stayer(Channel):
    @on("n")
    def n(self, payload):
        return {}


class User(SocketHandler):
    channels = [
        Route("move:*", Mover, assigns={"service": Mover, "limit": 5}),
        Route("stay:*", Stayer),
    ]


class Worker:
    """One worker; `sent` is what it says to its only gateway."""

    def __init__(self, name="old", version=2, **settings):
        self.bus, self.sent = NumberingBus(), []
        self.channels = Channels(
            Endpoint({"/socket": User}),
            self.bus,
            self.send,
            WorkerSettings(**settings),
            lambda link: version,
            lambda local_broadcast: PresenceRegistry.of(
                [presence], name, lambda *args, **kw: None, PresenceSettings(), local_broadcast
            ),
        )
        self.presences = self.channels.presences
        self.bus.channels = self.channels
        self.channels.gateway_up(LINK, "g")

    def send(self, link, command):
        self.sent.append(command)
        return len(self.sent)

    def do(self, command):
        self.channels.handle(LINK, command)

    async def join(self, number=1, topic="move:1"):
        data = msgspec.msgpack.encode({"user": "ana"})
        self.do(
            commands.Join(number, "/socket", topic, "1", None, "websocket", "v2_json", data, JSON, b"{}")
        )
        await self.wait(commands.Joined, number)

    def push(self, event, number=1, ref="2", **payload):
        self.do(commands.Push(number, ref, event, JSON, msgspec.json.encode(payload)))

    def drain(self, seconds=10):
        return asyncio.create_task(self.channels.move_away(seconds))

    async def wait(self, kind, number=1):
        def found():
            return [each for each in self.sent if isinstance(each, kind) and each.channel == number]

        return (await until(found))[-1]

    def restore(self, moved, number=1, topic="move:1"):
        self.do(
            commands.Join(
                number,
                "/socket",
                topic,
                "1",
                None,
                "websocket",
                "v2_json",
                moved.assigns,
                2,
                moved.data,
                True,
            )
        )

    def kinds(self):
        return [type(each) for each in self.sent]

    async def close(self):
        await self.channels.aclose()
        self.presences.close()


def scenario(test):
    """Runs with an old worker whose channel 1 has joined, and a new one."""
    settings = getattr(test, "settings", {})

    def run():
        async def main():
            Mover.ended.clear()
            new = Worker("new")
            old = Worker("old", **settings)  # the presence is bound to the last
            await old.join()
            try:
                await test(old, new)
            finally:
                await old.close()
                await new.close()

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


def with_settings(**settings):
    def mark(test):
        test.settings = settings
        return test

    return mark


async def move(old):
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    return await old.wait(commands.Moved)


def got(worker):
    return msgspec.json.decode(worker.sent[-1].data)["got"]


@scenario
async def test_what_came_before_the_handover_is_handled_and_the_next_worker_goes_on(old, new):
    old.push("n", n=1, seconds=0.01)
    draining = old.drain()
    await old.wait(commands.Moving)
    for number in range(2, 50):
        old.push("n", n=number)
    old.do(commands.Handover(1))
    await draining
    assert old.kinds()[:2] == [commands.Joined, commands.Moving]
    assert old.kinds()[2:] == [commands.Reply] * 49 + [commands.Moved]
    new.restore(old.sent[-1])
    await new.wait(commands.Joined)
    new.push("n", n=50)
    await new.wait(commands.Reply)
    assert got(new) == list(range(1, 51))
    assert Mover.ended == [], "a channel that moves does not end"
    assert old.channels.live() == []


@scenario
async def test_assigns_move_as_they_are_without_those_of_the_route(old, new):
    old.push("do", assign={"user": "bo", "limit": 7, "deep": [1, {"a": None}]})
    moved = await move(old)
    assert msgspec.msgpack.decode(moved.assigns) == {"user": "bo", "limit": 7, "deep": [1, {"a": None}]}
    new.restore(moved)
    pushed = await new.wait(commands.Pushed)
    assert msgspec.json.decode(pushed.data)["assigns"] == msgspec.msgpack.decode(moved.assigns)
    server = new.channels.server(LINK, 1)
    assert server.channel.assigns["service"] is Mover


@scenario
async def test_moved_follows_the_last_broadcast_of_the_channel(old, new):
    old.push("do", broadcast=True)
    assert (await move(old)).after == old.bus.sequence == 1


@scenario
async def test_subscriptions_are_renewed_before_restore(old, new):
    old.push("do", subscribe="news:1")
    moved = await move(old)
    assert old.bus.subscribed == []
    new.restore(moved)
    await new.wait(commands.Joined)
    assert new.bus.subscribed == [b"news:1\0"]
    new.channels.members.broadcast("news:1", Header(VERSION, BROADCAST, "x", 1, "e", JSON), b"{}")
    new.push("n", n=1)
    await new.wait(commands.Reply)
    assert got(new) == [["info", "news:1"], 1]


@scenario
async def test_a_presence_is_tracked_until_another_worker_tracks_it(old, new):
    old.push("do", track="ana")
    moved = await move(old)
    (ref,) = [meta["phx_ref"] for meta in presence.get_by_key("move:1", "ana")["metas"]]
    (tracked,) = unpack(moved.data).tracked
    assert (tracked.presence, tracked.topic, tracked.key) == ("presence", "move:1", "ana")
    new.restore(moved)
    await new.wait(commands.Joined)
    (meta,) = new.presences._servers["presence"].of_key("move:1", "ana")
    assert meta["phx_ref_prev"] == ref != meta["phx_ref"]
    server = old.presences._servers["presence"]
    assert not server.followed
    replica = new.presences._servers["presence"].tracker._state
    joined = [replica._appear("new2", entry) for entry in replica.own()]
    server._changed(joined)
    assert server.followed
    assert presence.get_by_key("move:1", "ana") is None, "the old entry has left"


@scenario
async def test_a_channel_that_has_moved_adds_nothing_to_the_worker_it_comes_from(old, new):
    channel = old.channels.server(LINK, 1).channel
    old.push("do", track="ana")
    await move(old)
    tracked = presence.list("move:1")
    for add in (
        lambda: presence.track(channel, "ghost"),
        lambda: presence.update(channel, "ana", {"n": 1}),
        lambda: channel.subscribe("news:1"),
    ):
        with pytest.raises(ChannelError, match="the channel has ended"):
            add()
    assert presence.list("move:1") == tracked
    assert old.bus.subscribed == []


@scenario
async def test_intercepted_broadcasts_are_heard_once_whichever_worker_heard_them_first(old, new):
    def broadcast(sequence, *workers, sender=None):
        header = Header(VERSION, BROADCAST, "x", sequence, "secret", JSON, sender)
        for worker in workers:
            worker.channels.members.broadcast("move:1", header, b'{"n":%d}' % sequence)

    broadcast(1, old, new)
    broadcast(2, old)  # the new one will hear it later
    moved = await move(old)
    broadcast(3, old, new)
    broadcast(4, new, sender=Sender("g", 1, True))  # its own broadcast_from
    new.restore(moved)
    await new.wait(commands.Joined)
    broadcast(5, new)
    new.push("n", n=6)
    await new.wait(commands.Reply)
    assert got(new) == [["out", 1], ["out", 2], ["out", 3], ["out", 5], 6]


@scenario
async def test_missed_broadcasts_count_in_the_bytes_of_the_mailbox_until_they_are_handled(old, new):
    old.push("do", slow_restore=0.01)
    moved = await move(old)
    header = Header(VERSION, BROADCAST, "x", 1, "secret", JSON)
    new.channels.members.broadcast("move:1", header, b'{"n":1}')
    new.restore(moved)
    await until(lambda: new.channels.waiting_bytes() == len(b'{"n":1}'))
    await new.wait(commands.Joined)
    await until(lambda: new.channels.waiting() == 0)
    assert new.channels.waiting_bytes() == 0


@scenario
async def test_a_channel_moves_however_fast_broadcasts_come(old, new):
    sent = 0

    def broadcast(count):
        nonlocal sent
        for _ in range(count):
            sent += 1
            header = Header(VERSION, BROADCAST, "x", sent, "secret", JSON)
            old.channels.members.broadcast("move:1", header, b'{"n":%d}' % sent)

    draining = old.drain()
    await old.wait(commands.Moving)
    broadcast(20)
    old.do(commands.Handover(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh.worker.runners.TICK_BUDGET_SECONDS", 0.0)
        while not any(isinstance(each, commands.Moved) for each in old.sent):
            broadcast(MAILS_PER_RUN + 1)  # more than are handled in a turn
            assert sent < 900
            await asyncio.sleep(0)
    await draining


@scenario
async def test_a_channel_that_gives_no_snapshot_ends_as_before(old, new):
    old.push("do", nothing=True)
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    assert old.kinds()[-1] is commands.Crashed
    assert Mover.ended == [("shutdown", [])]


@pytest.mark.parametrize(
    ("how", "end", "reason"),
    [("raise", commands.Crashed, "on request"), ("stop", commands.Closed, "normal")],
)
def test_a_snapshot_that_fails_or_stops_ends_the_channel(how, end, reason):
    @scenario
    async def run(old, new):
        old.push("do", **{how: True})
        draining = old.drain()
        await old.wait(commands.Moving)
        old.do(commands.Handover(1))
        await draining
        assert old.kinds()[-1] is end
        assert Mover.ended == [(reason, [])]

    run()


@scenario
@with_settings(max_snapshot_bytes=100)
async def test_a_snapshot_over_the_bound_crashes_the_channel_alone(old, new):
    await old.join(2)
    old.push("do", fill="x" * 100)
    draining = old.drain()
    for number in (1, 2):
        await old.wait(commands.Moving, number)
        old.do(commands.Handover(number))
    await draining
    await old.wait(commands.Crashed, 1)
    await old.wait(commands.Moved, 2)
    assert "worker.max_snapshot_bytes allows 100" in Mover.ended[0][0]


@scenario
@with_settings(kill_seconds=0.2)
async def test_a_channel_that_is_never_done_is_ended_in_time(old, new):
    old.channels.server(LINK, 1).channel.send("spin")
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    await old.wait(commands.Crashed)
    assert commands.Moved not in old.kinds()


@scenario
@with_settings(kill_seconds=0.2)
async def test_a_gateway_that_does_not_answer_is_not_waited_for(old, new):
    await old.drain()
    await old.wait(commands.Crashed)


@scenario
async def test_the_time_for_all_channels_together_is_bounded(old, new):
    old.push("n", n=1, seconds=60)
    draining = old.drain(0.1)
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    await old.channels.aclose()
    assert old.kinds()[-1] is commands.Crashed
    assert Mover.ended == [("shutdown", [])]


@scenario
@with_settings(version=1)
async def test_on_a_link_of_version_1_nothing_moves(old, new):
    await old.drain()
    assert old.kinds() == [commands.Joined]
    await old.channels.aclose()
    assert old.kinds() == [commands.Joined, commands.Crashed]


@scenario
async def test_a_class_without_snapshot_does_not_move(old, new):
    await old.join(2, "stay:1")
    draining = old.drain()
    await old.wait(commands.Moving, 1)
    old.do(commands.Handover(1))
    await draining
    assert [each.channel for each in old.sent if isinstance(each, commands.Moving)] == [1]
    await old.channels.aclose()
    await old.wait(commands.Crashed, 2)


@scenario
async def test_a_worker_that_stops_takes_no_more_joins(old, new):
    await move(old)
    said = len(old.sent)
    old.do(commands.Join(9, "/socket", "move:1", "1", None, "websocket", "v2_json", b"\x80", JSON, b"{}"))
    assert old.channels.server(LINK, 9) is None
    assert len(old.sent) == said, "unanswered: its gateway will send it elsewhere"


@scenario
async def test_a_client_that_leaves_before_the_handover_is_answered(old, new):
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Leave(1, "9"))
    old.do(commands.Handover(1))
    await draining
    assert old.kinds()[-2:] == [commands.Reply, commands.Closed]
    assert Mover.ended == [("left", [])]


@scenario
async def test_a_client_that_is_gone_before_its_gateway_knew_of_the_move_ends_its_channel_here(old, new):
    old.push("n", n=1)
    await move(old)
    old.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert Mover.ended == [("closed", [1])]
    old.do(commands.SocketDown([1], "closed"))
    await asyncio.sleep(0)
    assert len(Mover.ended) == 1


@scenario
async def test_a_client_that_is_gone_during_an_async_snapshot_ends_its_channel_here(old, new):
    old.push("do", slow=0.05)
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    server = old.channels.server(LINK, 1)
    await until(lambda: server.mailbox.waiting == 0)
    old.do(commands.SocketDown([1], "closed"))
    await draining
    assert Mover.ended == [("closed", [])]


def channels_and_servers():
    return [each for each in gc.get_objects() if type(each) in (Mover, ChannelServer)]


def the_link_ends(old):
    old.channels.gateway_down(LINK)


def the_worker_has_stopped(old):
    old.channels.links_closed()


def its_client_was_gone_before(old):
    old.do(commands.SocketDown([1], "closed"))


@pytest.mark.parametrize("settle", [the_link_ends, the_worker_has_stopped, its_client_was_gone_before])
def test_a_channel_that_has_moved_is_free_without_a_garbage_collection(settle):
    @scenario
    async def run(old, new):
        old.push("n", n=1)
        await move(old)
        assert len(channels_and_servers()) == 2, "its client may be gone already"
        settle(old)
        await until(lambda: not channels_and_servers())
        assert Mover.ended == ([("closed", [1])] if settle is its_client_was_gone_before else [])

    gc.collect()
    gc.disable()
    try:
        run()
    finally:
        gc.enable()


@scenario
async def test_the_end_of_one_link_settles_no_move_over_another(old, new):
    await move(old)
    old.channels.gateway_down(b"another")
    old.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)


@scenario
async def test_a_client_that_is_gone_during_restore_ends_its_channel_there_after_it(old, new):
    old.push("n", n=1)
    old.push("do", slow_restore=0.01)
    new.restore(await move(old))
    new.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert Mover.ended == [("closed", [1])]
    assert new.channels.live() == []


@scenario
async def test_a_restore_that_never_ends_does_not_outlive_its_client(old, new):
    new.channels.settings = WorkerSettings(kill_seconds=0.1)
    old.push("do", slow_restore=60)
    new.restore(await move(old))
    new.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert new.channels.live() == []


@scenario
async def test_nor_does_one_that_was_under_way_when_its_client_went(old, new):
    new.channels.settings = WorkerSettings(kill_seconds=0.1)
    old.push("do", slow_restore=60)
    new.restore(await move(old))
    server = new.channels.server(LINK, 1)
    await until(lambda: server.task is not None)
    new.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert new.channels.live() == []


@pytest.mark.parametrize("how", ["bad_restore", "wrong_restore"])
def test_a_restore_that_fails_crashes_the_channel(how):
    @scenario
    async def run(old, new):
        old.push("do", **{how: True})
        new.restore(await move(old))
        await new.wait(commands.Crashed)
        assert commands.Joined not in new.kinds()
        assert new.channels.live() == []

    run()


@scenario
async def test_what_is_no_handoff_state_crashes_the_channel(old, new):
    new.restore(commands.Moved(1, 0, b"\x80", b"junk"))
    await new.wait(commands.Crashed)


@scenario
async def test_messages_to_itself_that_come_during_an_async_snapshot_are_counted(old, new):
    before = counters.value("messages_not_moved")
    old.push("do", slow=0.05)
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    server = old.channels.server(LINK, 1)
    await until(lambda: server.mailbox.waiting == 0)
    server.channel.send("too late")
    await draining
    await old.wait(commands.Moved)
    assert counters.value("messages_not_moved") == before + 1


@scenario
async def test_so_are_broadcasts_that_it_subscribed_to(old, new):
    before = counters.value("messages_not_moved")
    old.push("do", slow=0.05, subscribe="news:1")
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    server = old.channels.server(LINK, 1)
    await until(lambda: server.mailbox.waiting == 0)
    old.channels.members.broadcast("news:1", Header(VERSION, BROADCAST, "x", 1, "e", JSON), b"{}")
    await draining
    await old.wait(commands.Moved)
    assert counters.value("messages_not_moved") == before + 1


@scenario
async def test_timers_end_with_the_move(old, new):
    old.push("do", later=60)
    await old.wait(commands.Reply)
    (timer,) = old.channels.server(LINK, 1).context._timers
    await move(old)
    assert timer.cancelled()


@scenario
async def test_hooks_hear_that_a_channel_moved(old, new):
    heard = []

    def hook(event, measurements, metadata):
        heard.append((metadata["topic"], metadata["reason"]))

    telemetry.attach("channel_ended", hook)
    try:
        await move(old)
    finally:
        telemetry.detach("channel_ended", hook)
    assert heard == [("move:1", "moved")]


def test_a_class_with_snapshot_needs_restore():
    with pytest.raises(ChannelError, match="Half has snapshot without restore"):

        class Half(Channel):
            def snapshot(self):
                return {}
