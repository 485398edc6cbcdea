"""Each channel has one execution context from `join` to `terminate`, and nobody shares it."""

import asyncio
import gc
import logging
from contextvars import Context, ContextVar, copy_context

import msgspec
import pytest
import structlog

from mesh import Channel, Endpoint, SocketHandler, contexts, on, telemetry
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.testing import ChannelCase, JoinRefused
from mesh.worker.background import BackgroundTasks
from mesh.worker.handoff.state import HandoffState, pack
from mesh.worker.runners import Runners
from tests.support.contexts_app import USER, RoomChannel, endpoint, presence
from tests.support.until import until


@pytest.fixture
def case():
    RoomChannel.ended.clear()
    presence.seen.clear()
    made = ChannelCase(endpoint)
    yield made
    made.close()


def join(case, user, **payload):
    socket = case.connect({"user": f"{user}'s socket"})
    return socket.join(f"room:{user}", {"user": user, **payload})


def seen(channel):
    return channel.assert_reply(channel.push("seen"))


def test_what_one_join_sets_no_other_channel_sees(case):
    ana = join(case, "ana")
    bob = join(case, "bob")
    same_socket = case.connect({"user": "carol"})
    first, second = (same_socket.join(f"room:{each}", {"user": each}) for each in ("c1", "c2"))
    for channel in (ana, bob, first, second):
        assert channel.reply == {"before": None, "init": None, "started": "at import"}
    ana.close()
    assert join(case, "dave").reply["before"] is None
    for channel, user in ((bob, "bob"), (first, "c1"), (second, "c2")):
        assert channel.assert_reply(channel.push("who"))["user"] == user


def test_every_callback_of_a_channel_sees_what_the_ones_before_it_set(case):
    ana, bob = join(case, "ana"), join(case, "bob")
    for channel, user in ((ana, "ana"), (bob, "bob")):
        assert channel.assert_reply(channel.push("who"))["user"] == user
        assert channel.assert_reply(channel.push("unknown"))["user"] == user
        slow = channel.assert_reply(channel.push("slow", {"seconds": 0.01}), timeout_seconds=30)
        assert slow == {"user": user, "before": user}
        channel.assert_reply(channel.push("work", {"user": user}), timeout_seconds=30)
        for _ in ("now", "soon", "news"):
            channel.assert_push("info", {"user": user, "message": channel_message}, timeout_seconds=30)
        channel.push("quiet")
        channel.assert_push("info", {"user": user, "message": "timeout"}, timeout_seconds=30)
        channel.push("whispered")
        channel.assert_push("whisper", {"user": user})
        assert seen(channel) == {
            "init": None, "join": None, "join, later": user, "after_join": user, "child task": user,
            "now": user, "soon": user, "news": user, "timeout": user,
        }  # fmt: skip
        channel.push("set", {"user": f"{user} 2"})
        assert channel.assert_reply(channel.push("who"))["user"] == f"{user} 2"


class _AnyMessage:
    def __eq__(self, other):
        return other in ("now", "soon", "news")

    __hash__ = None


channel_message = _AnyMessage()


def test_terminate_sees_its_channels_own_whatever_the_way(case):
    ways = ["left", "closed", "crashed", "refused", "crashed join", "killed", "replaced"]
    for way in ways[:3]:
        join(case, f"before {way}")
    channels = {way: join(case, way) for way in ("left", "closed", "crashed", "killed", "replaced")}
    for way, payload in (("refused", {"refuse": True}), ("crashed join", {"crash": True})):
        with pytest.raises(JoinRefused):
            join(case, way, **payload)
    channels["left"].leave()
    channels["closed"].close()
    channels["crashed"].push("crash")
    channels["crashed"].assert_crashed()
    channels["killed"].push("hang")
    case.do(lambda: channels["killed"]._received.server.shut_down())
    channels["replaced"]._replaced()
    case.wait(lambda: len(RoomChannel.ended) >= len(ways) or None, 30)
    ended = {topic: user for topic, user, _ in RoomChannel.ended}
    assert ended == {f"room:{way}": way for way in ways}


def test_a_channel_that_moves_has_a_fresh_context_there_for_restore_to_fill(case):
    ana, number = join(case, "ana"), next(case.numbers)
    data = pack("RoomChannel", HandoffState({"user": "ana, moved"}), 1000)
    moved = commands.Join(
        number, "/socket", "room:ana", "1", None, "websocket", "v2_json",
        msgspec.msgpack.encode({"connect": {}}), JSON, data, moved=True,
    )  # fmt: skip
    case.do(lambda: case.gateway.join(moved))
    case.do(lambda: case.gateway.command(commands.Push(number, "7", "seen", JSON, b"{}")))
    case.do(lambda: case.gateway.command(commands.Push(number, "8", "who", JSON, b"{}")))
    replies = {ref: payload for ref, _, payload in case.gateway.received[number].replies}
    assert replies == {"7": {"init": None, "restore": None}, "8": {"user": "ana, moved", "connect": {}}}
    assert ana.assert_reply(ana.push("who"))["user"] == "ana"


def test_concurrent_users_that_interleave_do_not_mix(case):
    users = [f"user {number}" for number in range(20)]
    channels = [join(case, user) for user in users]
    refs = []
    for turn in range(3):
        for number, channel in enumerate(channels):
            seconds = (number * 7 + turn) % 5 / 1000
            refs.append((channel, users[number], channel.push("slow", {"seconds": seconds})))
    for channel, user, ref in refs:
        assert channel.assert_reply(ref, timeout_seconds=30) == {"user": user, "before": user}


def test_presence_callbacks_for_diffs_see_nobodys_variables(case):
    ana, bob = join(case, "ana"), join(case, "bob")
    for channel, user in ((ana, "ana"), (bob, "bob")):
        channel.assert_reply(channel.push("work", {"user": user}), timeout_seconds=30)
    case.settle(None)
    for_diffs = [each for each in presence.seen if each != ("fetch", "ana") and each != ("fetch", "bob")]
    # `presence.list` in a channel calls `fetch` for that channel.
    assert [each for each in presence.seen if each not in for_diffs] == [("fetch", "ana"), ("fetch", "bob")]
    assert set(for_diffs) == {
        ("fetch", None),
        ("handle_metas", None),
        ("handle_metas, later", "of a presence"),
    }


def test_whoever_reports_a_crash_finds_the_channels_own_variables(case):
    reported = []

    class Reporter(logging.Handler):
        def emit(self, record):
            reported.append((record.getMessage(), USER.get()))

    def hear(event, measurements, metadata):
        reported.append((event, USER.get()))
        USER.set("of a telemetry handler")

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = Reporter()
    logging.getLogger("mesh").addHandler(handler)
    for event in ("channel_crashed", "channel_ended", "channel_joined"):
        telemetry.attach(event, hear)
    try:
        ana, bob = join(case, "ana"), join(case, "bob")
        bob.push("crash")
        bob.assert_crashed()
        with pytest.raises(JoinRefused):
            join(case, "carol", crash=True)
        assert ana.assert_reply(ana.push("who"))["user"] == "ana"
    finally:
        for event in ("channel_crashed", "channel_ended", "channel_joined"):
            telemetry.detach(event, hear)
        logging.getLogger("mesh").removeHandler(handler)
        structlog.configure(**before)
    hooks = [each for each in reported if each[0].startswith("channel_")]
    assert hooks == [
        ("channel_joined", "ana"),
        ("channel_joined", "bob"),
        ("channel_crashed", "bob"),
        ("channel_ended", "bob"),
        ("channel_joined", "carol"),
        ("channel_ended", "carol"),
    ]
    lines = [each for each in reported if "crashed" in each[0] and each not in hooks]
    assert [user for _, user in lines] == ["bob", "carol"]
    assert all(f"user='{user}'" in line for line, user in lines)


def test_a_full_mailbox_is_logged_in_its_channels_context_whoever_filled_it():
    lines = []

    class Flooded(Channel):
        def join(self, topic, payload):
            USER.set(topic)

        @on("subscribe")
        async def listen(self, payload):
            await self.subscribe("news")

        @on("hang")
        async def hang(self, payload):
            await asyncio.sleep(60)

        @on("flood")
        def flood(self, payload):
            for _ in range(20):
                flooding.broadcast("news", "news", {})

    class User(SocketHandler):
        channels = {"room:*": Flooded}

    flooding = Endpoint({"/socket": User}, settings={"worker": {"max_mailbox_messages": 10}})
    case = ChannelCase(flooding)
    before = structlog.get_config()
    structlog.configure(processors=[lambda _logger, _method, event: note(event)])

    def note(event):
        lines.append((event["event"], USER.get()))
        raise structlog.DropEvent

    try:
        victim, flooder = (case.socket().join(f"room:{each}") for each in ("victim", "flooder"))
        victim.push("subscribe")
        victim.push("hang")
        flooder.push("flood")
        victim.assert_crashed()
    finally:
        structlog.configure(**before)
        case.close()
    assert ("mailbox is full: the channel ends", "room:victim") in lines


def test_an_ended_channel_leaves_nothing_of_its_context(case):
    class Large:
        pass

    kept = ContextVar("kept")
    ana = join(case, "ana")
    server = ana._received.server
    large = Large()
    server.execution_context.run(kept.set, large)
    case.run(asyncio.sleep(0))
    ana.close()
    gc.disable()
    try:
        assert kept not in server.execution_context
    finally:
        gc.enable()


def test_a_runner_woken_by_one_users_work_runs_the_next_in_its_own_context():
    name = ContextVar("name", default=None)

    class Work:
        def __init__(self, user, gate):
            self.task = None
            self.execution_context = Context()
            self.execution_context.run(name.set, user)
            self.gate = gate

        async def run(self):
            heard.append(name.get())
            await self.gate.wait()
            heard.append(name.get())

    heard = []

    async def scenario():
        runners, gate = Runners(), asyncio.Event()
        name.set("whoever submits")
        works = [Work(user, gate) for user in ("ana", "bob")]
        for work in works:
            runners.submit(work)
        await until(lambda: len(heard) == 2)
        gate.set()
        await until(lambda: len(heard) == 4)
        third = Work("carol", gate)
        works[0].execution_context.run(runners.submit, third)
        await until(lambda: len(heard) == 6)
        await runners.aclose()

    asyncio.run(scenario())
    assert heard == ["ana", "bob", "ana", "bob", "carol", "carol"]


def test_background_tasks_have_a_context_each():
    heard = []

    async def first():
        heard.append(("first", USER.get()))
        USER.set("of the first")

    async def second():
        await asyncio.sleep(0)
        heard.append(("second", USER.get()))

    async def scenario():
        tasks = BackgroundTasks([first, second], 1.0)
        USER.set("whoever starts them")
        tasks.start()
        await until(lambda: len(heard) == 2)
        await tasks.aclose()

    asyncio.run(scenario())
    assert heard == [("first", None), ("second", None)]


def test_connect_in_a_test_has_a_fresh_context_as_in_production(case):
    USER.set(None)

    def scenario():
        USER.set("of the test")
        for user in ("ana", "bob"):
            room = case.connect({"user": user, "slow": "1"}).join(f"room:{user}", {"user": "x"})
            told = room.assert_reply(room.push("who"))["connect"]
            assert told == {
                "init": None, "before": None, "started": "at import", "later": user, "id": user,
            }  # fmt: skip
        assert USER.get() == "of the test"

    copy_context().run(scenario)


def test_within_keeps_the_task_its_cancellation_and_what_it_returns():
    async def inner(gate):
        assert USER.get() is None
        USER.set("inner")
        try:
            await gate.wait()
        except asyncio.CancelledError:
            return asyncio.current_task(), USER.get()

    async def scenario():
        USER.set("outer")
        task = asyncio.create_task(contexts.await_in(contexts.fresh(), inner(asyncio.Event())))
        await asyncio.sleep(0)
        task.cancel()
        assert await task == (task, "inner")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await contexts.await_in(contexts.fresh(), asyncio.Event().wait())
        assert USER.get() == "outer"

    asyncio.run(scenario())
