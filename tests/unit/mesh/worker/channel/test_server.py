"""mesh/worker: a worker's channels, with a link that writes down and a bus that numbers."""

import asyncio
import gc
import time
import tracemalloc

import msgspec
import pytest

from mesh import TIMEOUT, Broadcast, Channel, Endpoint, Route, SocketHandler, SocketRef, ok, on, refuse
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.debug import ChannelInfo
from mesh.link import commands
from mesh.messages import BINARY, JSON, Sender
from mesh.settings import WorkerSettings
from mesh.telemetry import counters, logs
from mesh.worker import channel_telemetry
from mesh.worker.channel.lifecycle import Event
from mesh.worker.channel.server import MAILS_PER_RUN
from mesh.worker.channels import Channels
from tests.support.bus import NumberingBus
from tests.support.until import until
from tests.support.virtual_time import run_virtually

LINK = b"link"


class Room(Channel):
    intercept = ("secret",)
    ended = []
    gate = None

    @on("echo")
    def echo(self, payload):
        return payload

    @on("both")
    def both(self, payload):
        self.broadcast("news", payload)
        return {}

    @on("wait")
    async def wait(self, payload):
        Room.gate = asyncio.Event()
        await Room.gate.wait()

    @on("toil")
    def toil(self, payload):
        time.sleep(0.01)

    @on("flood")
    def flood(self, payload):
        for number in range(payload["count"]):
            self.send(number)

    @on("hang")
    async def hang(self, payload):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if not payload.get("stubborn"):
                    raise

    def handle_out(self, event, payload):
        self.push(event, payload)

    @on("spin")
    def spin(self, payload):
        self.send("spin")

    def handle_info(self, message):
        if message == "spin":
            self.send("spin")

    def terminate(self, reason):
        self.ended.append(str(reason))


class Patient(Channel):
    """Waits for silence; notes what it hears."""

    heard = []

    async def join(self, topic, payload):
        self.heard.append(("join", payload))
        if payload == {"refuse": True}:
            return refuse("no")
        if isinstance(payload, dict) and "slow" in payload:
            await asyncio.sleep(payload["slow"])
        if payload == {"stubborn": True}:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    @on("wait")
    def wait(self, payload):
        self.timeout(payload["seconds"])

    @on("wait_and_go_on")
    async def wait_and_go_on(self, payload):
        self.timeout(payload["seconds"])
        await asyncio.sleep(2 * payload["seconds"])

    @on("echo")
    def echo(self, payload):
        return ok(payload)

    @on("tell")
    def tell(self, payload):
        self.send(payload["what"])

    @on("listen")
    async def listen(self, payload):
        await self.subscribe(payload["topic"])
        return {}

    @on("later")
    def later(self, payload):
        self.send("later", float(payload["seconds"]))

    @on("end")
    def end(self, payload):
        self.stop(payload["reason"])

    @on("reply_elsewhere")
    def reply_elsewhere(self, payload):
        self.reply({}, ref=SocketRef("room:other", "1"))

    def handle_info(self, message):
        self.heard.append(message)
        if message == "wait again":
            self.timeout(1)
        if message == "reply":
            self.reply({})
        return 7 if message == "return" else None

    def terminate(self, reason):
        self.heard.append(("terminate", str(reason)))


class Deaf(Channel):
    log_join, log_handle_in = "info", "warning"

    @on("tell")
    def tell(self, payload):
        self.send(payload["what"])
        return {}


async def cancelled():
    other = asyncio.create_task(asyncio.sleep(60))
    other.cancel()
    await other


class Fragile(Channel):
    """Awaits what is cancelled."""

    async def join(self, topic, payload):
        if payload == {"join": True}:
            await cancelled()

    @on("end")
    def end(self, payload):
        self.stop("normal")

    @on("crash")
    async def crash(self, payload):
        await cancelled()

    async def terminate(self, reason):
        await cancelled()


class User(SocketHandler):
    channels = [
        Route("fragile:*", Fragile),
        Route("room:*", Room),
        Route("patient:*", Patient),
        Route("deaf:*", Deaf, assigns={"tags": ["a"], "deep": {"b": []}, "service": Room}),
    ]


class Worker:
    """Channels with a gateway linked."""

    def __init__(self, **settings):
        self.bus, self.sent = NumberingBus(), []
        self.channels = Channels(
            Endpoint({"/socket": User}), self.bus, self.send, WorkerSettings(**settings)
        )
        self.bus.channels = self.channels
        self.channels.gateway_up(LINK, "g")
        Room.ended.clear()
        Room.gate = None
        Patient.heard.clear()

    def send(self, link, command):
        assert link == LINK
        self.sent.append(command)
        return len(self.sent)

    def join(self, number=1, topic="room:1", codec=JSON, data=b"{}"):
        assigns = msgspec.msgpack.encode({})
        self.do(
            commands.Join(number, "/socket", topic, "1", None, "websocket", "v2_json", assigns, codec, data)
        )

    def push(self, event, data=b"{}", number=1, ref="2"):
        self.do(commands.Push(number, ref, event, JSON, data))

    def do(self, command):
        self.channels.handle(LINK, command)

    async def wait(self, kind, count=1):
        await until(lambda: sum(isinstance(each, kind) for each in self.sent) >= count)
        return [each for each in self.sent if isinstance(each, kind)][count - 1]


def scenario(run_in=asyncio.run, **settings):
    def decorate(test):
        def run():
            async def main():
                worker = Worker(**settings)
                try:
                    await test(worker)
                finally:
                    await worker.channels.aclose()

            run_in(main())

        run.__name__ = test.__name__
        return run

    return decorate


@scenario()
async def test_what_a_handler_sends_is_stamped_with_its_last_broadcast(worker):
    worker.join()
    worker.push("echo", b'{"n":1}')
    worker.push("both")
    worker.push("echo", b'{"n":2}')
    await worker.wait(commands.Reply, 3)
    assert [each.after for each in worker.sent if isinstance(each, commands.Reply)] == [0, 1, 1]
    assert worker.bus.published == [("room:1", "news", Sender("g", 1, False, 2))]


@scenario()
async def test_an_intercepted_broadcast_reaches_the_members_but_not_its_sender(worker):
    worker.join(1)
    worker.join(2)
    worker.join(3, "room:2")
    await worker.wait(commands.Joined, 3)
    header = Header(VERSION, BROADCAST, "w", 9, "secret", JSON, Sender("g", 1, True))
    worker.channels.members.broadcast("room:1", header, b'{"k":1}')
    worker.channels.members.broadcast("room:1", Header(VERSION, BROADCAST, "w", 10, "open", JSON), b"{}")
    await worker.wait(commands.Pushed)
    assert [each.channel for each in worker.sent if isinstance(each, commands.Pushed)] == [2]


@scenario(max_mailbox_messages=10)
async def test_a_full_mailbox_ends_its_channel_only(worker):
    before = counters.value("mailboxes_overflowed")
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    worker.push("hang")
    await asyncio.sleep(0)
    for _ in range(20):
        worker.push("echo")
    assert (await worker.wait(commands.Crashed)).channel == 1
    worker.push("echo", number=2)
    assert (await worker.wait(commands.Reply)).channel == 2
    assert counters.value("mailboxes_overflowed") == before + 1


@scenario(max_mailbox_messages=10)
async def test_a_channel_that_floods_itself_ends_and_the_worker_goes_on(worker):
    worker.join(1)
    worker.join(2)
    worker.push("flood", b'{"count":50}')
    assert (await worker.wait(commands.Crashed)).channel == 1
    for number in range(3):
        worker.push("echo", number=2, ref=str(number))
    await worker.wait(commands.Reply, 3)


@scenario()
async def test_a_channel_that_sends_itself_messages_without_end_holds_up_nobody(worker):
    worker.join(1)
    worker.join(2)
    worker.push("spin")
    for number in range(20):
        worker.push("echo", number=2, ref=str(number))
        await worker.wait(commands.Reply, number + 1)


@scenario()
async def test_channels_take_turns_however_much_waits_for_one(worker):
    for number in (1, 2):
        worker.join(number)
        await worker.wait(commands.Joined, number)
    for number in range(3 * MAILS_PER_RUN):
        worker.push("echo", ref=str(number))
    worker.push("echo", number=2)
    await worker.wait(commands.Reply, 3 * MAILS_PER_RUN + 1)
    replies = [each for each in worker.sent if isinstance(each, commands.Reply)]
    assert [each.channel for each in replies].index(2) == MAILS_PER_RUN
    assert [int(each.ref) for each in replies if each.channel == 1] == list(range(3 * MAILS_PER_RUN))


@scenario()
async def test_a_replaced_channel_is_cancelled_and_closed(worker):
    worker.join()
    worker.push("hang")
    worker.push("echo")
    await worker.wait(commands.Joined)
    await asyncio.sleep(0)
    worker.do(commands.Replace(1))
    await worker.wait(commands.Closed)
    assert Room.ended == ["duplicate_join"]
    assert not any(isinstance(each, commands.Reply) for each in worker.sent)


@scenario(kill_seconds=0.05)
async def test_a_callback_that_does_not_end_is_left_behind(worker):
    worker.join()
    worker.push("hang", b'{"stubborn":true}')
    await worker.wait(commands.Joined)
    await asyncio.sleep(0)
    worker.do(commands.Replace(1))
    await worker.wait(commands.Closed)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    for task in asyncio.all_tasks():
        if task.get_name() == "channel runner" and task is not asyncio.current_task():
            task.get_coro().close()  # it would never end by itself


@scenario()
async def test_an_event_that_its_life_does_not_allow_ends_the_channel_alone(worker):
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    server = worker.channels.server(LINK, 1)
    server.channel.echo = lambda payload: server.change(Event.RESTORED)
    worker.push("echo")
    assert (await worker.wait(commands.Crashed)).channel == 1
    assert Room.ended == ["Event.RESTORED in Phase.JOINED"]
    worker.push("echo", number=2)
    await worker.wait(commands.Reply)


@scenario()
async def test_a_lost_gateway_ends_its_channels_and_nothing_is_sent_to_it(worker):
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    sent = len(worker.sent)
    worker.channels.gateway_down(LINK)
    await until(lambda: Room.ended == ["closed", "closed"])
    assert len(worker.sent) == sent


@scenario()
async def test_commands_for_channels_that_ended_are_counted(worker):
    before = counters.value("pushes_without_channel")
    worker.push("echo", number=9)
    worker.do(commands.Leave(9, "1"))
    worker.do(commands.SocketDown([9], "closed"))
    worker.do(commands.Replace(9))
    assert worker.sent == [commands.Closed(9, 0)]
    assert counters.value("pushes_without_channel") == before + 2


@scenario()
async def test_a_join_that_cannot_be_read_is_refused(worker):
    for mount, topic, assigns in [
        ("/other", "room:1", b"\x80"),
        ("/socket", "nope", b"\x80"),
        ("/socket", "room:1", b"\xc1"),
    ]:
        worker.do(commands.Join(1, mount, topic, "1", None, "websocket", "v2_json", assigns, JSON, b"{}"))
    assert [type(each) for each in worker.sent] == [commands.Refused] * 3


def test_assigns_of_one_channel_are_not_those_of_another():
    @scenario()
    async def check(worker):
        worker.join(1)
        worker.join(2)
        await worker.wait(commands.Joined, 2)
        one, two = (server.channel for server in worker.channels._by_link[LINK].values())
        one.assigns["mine"] = 1
        assert two.assigns == {}

    check()


@pytest.mark.parametrize("patterns", [["room:*"]])
def test_only_routes_that_intercept_are_subscribed(patterns):
    assert Worker().channels.intercepted_patterns() == patterns


@scenario(run_virtually)
async def test_silence_after_a_callback_is_told_once(worker):
    worker.join(topic="patient:1")
    worker.push("wait", b'{"seconds":10}')
    await asyncio.sleep(9.9)
    assert TIMEOUT not in Patient.heard
    await asyncio.sleep(100)
    assert Patient.heard[1:] == [TIMEOUT]
    worker.push("wait_and_go_on", b'{"seconds":10}')  # the wait begins when the callback ends
    await asyncio.sleep(29.9)
    assert Patient.heard[1:] == [TIMEOUT]
    await asyncio.sleep(0.2)
    assert Patient.heard[1:] == [TIMEOUT, TIMEOUT]


@scenario(run_virtually)
async def test_whatever_comes_ends_the_wait_for_silence(worker):
    worker.join(topic="patient:1")
    worker.push("wait", b'{"seconds":10}')
    await asyncio.sleep(9.9)
    worker.push("echo")
    await asyncio.sleep(100)
    worker.push("wait", b'{"seconds":10}')
    worker.push("tell", b'{"what":"wait again"}')
    await asyncio.sleep(1.1)
    assert Patient.heard[1:] == ["wait again", TIMEOUT]
    worker.push("wait", b'{"seconds":10}')
    worker.push("end", b'{"reason":"normal"}')
    await asyncio.sleep(100)
    assert Patient.heard[3:] == [("terminate", "normal")]


@pytest.mark.parametrize("seconds", [b"-1", b'"1"', b"null"])
def test_a_wait_that_is_no_number_of_seconds_crashes_the_channel(seconds):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("wait", b'{"seconds":' + seconds + b"}")
        await worker.wait(commands.Crashed)
        assert "want a number of seconds" in Patient.heard[-1][1]

    check()


@pytest.mark.parametrize("seconds", [b'"nan"', b'"inf"'])
def test_a_delay_that_is_no_number_of_seconds_crashes_the_channel(seconds):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("later", b'{"seconds":' + seconds + b"}")
        await worker.wait(commands.Crashed)

    check()


@pytest.mark.parametrize(("data", "seconds"), [(b'{"slow":3}', 1), (b'{"stubborn":true}', 1)])
def test_a_join_that_takes_too_long_is_refused_and_cancelled(data, seconds):
    @scenario(run_virtually, join_timeout_seconds=seconds)
    async def check(worker):
        worker.join(1, "patient:1", data=data)
        worker.join(2, "patient:2")
        await asyncio.sleep(seconds + 0.1)
        refused = await worker.wait(commands.Refused)
        assert (refused.channel, refused.data) == (1, b'{"reason":"join crashed"}')
        assert Patient.heard[-1][0] == "terminate"
        assert "over 1 s (worker.join_timeout_seconds)" in Patient.heard[-1][1]
        assert (await worker.wait(commands.Joined)).channel == 2

    check()


@scenario(run_virtually)
async def test_without_a_bound_a_join_may_take_its_time(worker):
    worker.join(1, "patient:1", data=b'{"slow":3}')
    await asyncio.sleep(3.1)
    assert (await worker.wait(commands.Joined)).channel == 1


@scenario()
async def test_a_join_that_outlives_its_client_leaves_nothing(worker):
    worker.join(1, "patient:1", data=b'{"stubborn":true}')
    await until(lambda: Patient.heard)
    worker.do(commands.SocketDown([1], "closed"))
    await until(lambda: ("terminate", "closed") in Patient.heard)
    assert worker.sent == []
    assert len(worker.channels.members) == 0


@pytest.mark.parametrize(
    ("act", "answer"),
    [
        (lambda worker: worker.push("end"), commands.Closed),
        (lambda worker: worker.push("crash"), commands.Crashed),
        (lambda worker: worker.do(commands.Leave(1, "2")), commands.Closed),
        (lambda worker: worker.do(commands.Replace(1)), commands.Closed),
        (lambda worker: worker.channels.malformed(LINK, 1), commands.Crashed),
    ],
    ids=["stop", "crash", "leave", "replace", "kill"],
)
def test_a_terminate_in_which_something_is_cancelled_leaves_nothing(act, answer):
    @scenario()
    async def test(worker):
        untracked = []
        worker.channels.untrack = untracked.append
        worker.join(1, "fragile:1")
        await worker.wait(commands.Joined)
        act(worker)
        await worker.wait(answer)
        await until(lambda: untracked)
        assert len(worker.channels.members) == 0
        worker.join(2, "patient:1")
        assert (await worker.wait(commands.Joined, 2)).channel == 2

    test()


@scenario()
async def test_a_join_in_which_something_is_cancelled_is_answered(worker):
    worker.join(1, "fragile:1", data=b'{"join":true}')
    await until(lambda: worker.sent)
    assert type(worker.sent[0]) in (commands.Crashed, commands.Refused)


@scenario()
async def test_a_refused_join_ends_with_terminate(worker):
    worker.join(topic="patient:1", data=b'{"refuse":true}')
    assert (await worker.wait(commands.Refused)).data == b'{"reason":"no"}'
    await until(lambda: Patient.heard[-1] == ("terminate", "shutdown"))


@scenario()
async def test_any_payload_may_come_with_a_join(worker):
    worker.join(1, "patient:1", data=b"[1,null]")
    worker.join(2, "patient:2", BINARY, b"\xff\x00")
    await worker.wait(commands.Joined, 2)
    assert Patient.heard == [("join", [1, None]), ("join", b"\xff\x00")]


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        (b'"normal"', commands.Closed),
        (b'"shutdown"', commands.Closed),
        (b'"shutdown:maintenance"', commands.Closed),
        (b'"shutdowns"', commands.Crashed),
        (b'"on fire"', commands.Crashed),
        (b"7", commands.Crashed),
    ],
)
def test_the_reason_of_a_stop_says_whether_the_client_shall_come_back(reason, command):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("end", b'{"reason":' + reason + b"}")
        await worker.wait(command)

    check()


@scenario()
async def test_a_message_for_a_channel_without_handle_info_is_ignored(worker):
    worker.join(topic="deaf:1")
    worker.push("tell", b'{"what":1}')
    worker.push("tell", b'{"what":2}')
    await worker.wait(commands.Reply, 2)
    assert not any(isinstance(each, commands.Crashed) for each in worker.sent)


@pytest.mark.parametrize("what", ["reply", "return"])
def test_there_is_nothing_to_reply_to_in_handle_info(what):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("tell", b'{"what":"%b"}' % what.encode())
        await worker.wait(commands.Crashed)

    check()


@scenario()
async def test_a_push_to_one_channel_cannot_be_answered_by_another(worker):
    worker.join(topic="patient:1")
    worker.push("reply_elsewhere")
    await worker.wait(commands.Crashed)
    assert "one of 'room:other'" in Patient.heard[-1][1]


@scenario()
async def test_assigns_of_a_route_are_copied_into_each_channel(worker):
    worker.join(1, "deaf:1")
    worker.join(2, "deaf:2")
    await worker.wait(commands.Joined, 2)
    one, two = (server.channel.assigns for server in worker.channels._by_link[LINK].values())
    one["tags"].append("b")
    one["deep"]["b"].append(1)
    assert two == {"tags": ["a"], "deep": {"b": []}, "service": Room}


@scenario()
async def test_the_channels_of_a_worker_can_be_listed(worker):
    worker.join(1)
    await worker.wait(commands.Joined)
    worker.push("hang")
    await asyncio.sleep(0)
    worker.push("echo")
    worker.join(2, "patient:1", data=b'{"slow":60}')
    listed = [
        ChannelInfo("room:1", "joined", "Room", None, "g", 1),
        ChannelInfo("patient:1", "joining", "Patient", None, "g", 0),
    ]
    await until(lambda: worker.channels.live() == listed)
    worker.do(commands.Leave(1, "9"))
    assert worker.channels.live()[0] == ChannelInfo("room:1", "leaving", "Room", None, "g", 2)


@scenario()
async def test_an_idle_channel_costs_about_two_kilobytes(worker):
    async def join(numbers):
        for number in numbers:
            worker.join(number)
        await until(lambda: len(worker.channels.live()) == numbers.stop)
        worker.sent.clear()
        gc.collect()

    await join(range(100))
    tracemalloc.start()
    try:
        await join(range(100, 2_100))
        assert tracemalloc.get_traced_memory()[0] / 2_000 < 3_000
    finally:
        tracemalloc.stop()


@scenario()
async def test_a_local_broadcast_reaches_members_and_channels_that_subscribed(worker):
    worker.join(1)
    worker.join(2, "patient:1")
    await worker.wait(commands.Joined, 2)
    worker.push("listen", b'{"topic":"room:1"}', number=2)
    await worker.wait(commands.Reply)
    worker.channels.members.local_broadcast("room:1", "news", {"n": 1})
    worker.channels.members.local_broadcast("room:1", "secret", {"n": 2})
    worker.channels.members.local_broadcast("room:2", "news", {"n": 3})
    await until(lambda: len(Patient.heard) == 3)
    assert Patient.heard[1:] == [
        Broadcast("room:1", "news", {"n": 1}),
        Broadcast("room:1", "secret", {"n": 2}),
    ]
    assert (await worker.wait(commands.Broadcast)).event == "news"
    assert (await worker.wait(commands.Pushed)).event == "secret"


@scenario()
async def test_a_worker_that_stops_crashes_its_channels_but_answers_no_join_under_way(worker):
    worker.join(1, "patient:1")
    await worker.wait(commands.Joined)
    worker.join(2, "patient:2", data=b'{"slow":60}')
    await until(lambda: len(Patient.heard) == 2)
    await worker.channels.aclose()
    assert [(type(each), each.channel) for each in worker.sent] == [
        (commands.Joined, 1),
        (commands.Crashed, 1),
    ]
    assert Patient.heard[2:] == [("terminate", "shutdown")] * 2


class Log:
    """Writes down what is logged, however logging was configured before."""

    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda event, **fields: self.lines.append((level, event, fields))


def test_joins_and_events_are_logged_at_the_level_their_class_says(monkeypatch):
    log = Log()
    monkeypatch.setattr(channel_telemetry, "log", log)
    monkeypatch.setattr(logs, "_least", 0)

    @scenario()
    async def check(worker):
        worker.join(1, "deaf:1", data=b'{"token":"x"}')
        worker.push("tell", b'{"what":1}')
        await worker.wait(commands.Reply)
        worker.join(2, "room:1")
        await worker.wait(commands.Joined, 2)

    check()
    lines = [each for each in log.lines if "params" in each[2]]
    assert [(level, event, fields["topic"]) for level, event, fields in lines] == [
        ("info", "joined", "deaf:1"),
        ("warning", "handled", "deaf:1"),
        ("debug", "joined", "room:1"),
    ]
    assert lines[0][2]["params"] == {"token": "[FILTERED]"}
    assert lines[0][2]["milliseconds"] >= 0


def paces(worker):
    """What the worker has asked of its gateway."""
    return [
        type(each) for each in worker.sent if type(each) in (commands.PushesPaused, commands.PushesResumed)
    ]


@scenario(pause_mailbox_messages=10)
async def test_a_full_mailbox_pauses_its_client_until_half_of_it_is_left(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("wait")
    await until(lambda: Room.gate is not None)
    for number in range(10):
        worker.push("echo", ref=str(number))
    assert paces(worker) == []
    worker.push("echo", ref="10")
    worker.push("echo", ref="11")
    assert paces(worker) == [commands.PushesPaused]
    Room.gate.set()
    await worker.wait(commands.Reply, 12)
    assert paces(worker) == [commands.PushesPaused, commands.PushesResumed]
    replies = [each for each in worker.sent if isinstance(each, (commands.Reply, commands.PushesResumed))]
    assert replies.index(commands.PushesResumed(1)) == 7


@scenario(pause_mailbox_bytes=1_000)
async def test_so_do_few_large_messages(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("wait")
    await until(lambda: Room.gate is not None)
    for _ in range(3):
        worker.push("echo", b'["' + b"x" * 400 + b'"]')
    assert paces(worker) == [commands.PushesPaused]
    assert worker.channels.waiting_bytes() > 1_000
    Room.gate.set()
    await worker.wait(commands.PushesResumed)
    await worker.wait(commands.Reply, 3)
    assert worker.channels.waiting_bytes() == 0


@scenario(max_mailbox_bytes=2_000)
async def test_more_bytes_than_may_wait_end_the_channel(worker):
    before = counters.value("mailboxes_overflowed")
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("hang")
    await asyncio.sleep(0)
    for _ in range(6):
        worker.push("echo", b'["' + b"x" * 400 + b'"]')
    await worker.wait(commands.Crashed)
    assert counters.value("mailboxes_overflowed") == before + 1


@scenario(pause_mailbox_bytes=1_000)
async def test_broadcasts_that_a_channel_subscribed_to_count_in_its_bytes(worker):
    def broadcast(size):
        header = Header(VERSION, BROADCAST, "w", 9, "news", JSON)
        worker.channels.members.broadcast("t", header, b'{"n":"' + b"x" * size + b'"}')

    worker.join(topic="patient:1")
    worker.push("listen", b'{"topic":"t"}')
    await worker.wait(commands.Reply)
    worker.push("wait_and_go_on", b'{"seconds":0.01}')
    await until(lambda: worker.channels.waiting() == 0)
    for _ in range(3):
        broadcast(400)
    assert paces(worker) == [commands.PushesPaused]
    assert worker.channels.waiting_bytes() > 1_200
    await worker.wait(commands.PushesResumed)
    await until(lambda: len(Patient.heard) == 4)
    assert Patient.heard[1:] == [Broadcast("t", "news", {"n": "x" * 400})] * 3
    assert worker.channels.waiting_bytes() == 0


@scenario(max_mailbox_bytes=2_000)
async def test_too_many_bytes_of_them_end_the_channel_alone(worker):
    for number in (1, 2):
        worker.join(number, f"patient:{number}")
        worker.push("listen", b'{"topic":"t"}', number=number)
    await worker.wait(commands.Reply, 2)
    worker.push("wait_and_go_on", b'{"seconds":60}')
    await until(lambda: worker.channels.waiting() == 0)
    header = Header(VERSION, BROADCAST, "w", 9, "news", JSON)
    for _ in range(6):
        worker.channels.members.broadcast("t", header, b'{"n":"' + b"x" * 400 + b'"}')
        await until(lambda: worker.channels.server(LINK, 2).mailbox.waiting == 0)
    assert (await worker.wait(commands.Crashed)).channel == 1
    assert worker.channels.server(LINK, 2).status == "joined"


@scenario(pause_mailbox_messages=2)
async def test_a_gateway_of_version_1_is_not_asked(worker):
    worker.channels._version = lambda link: 1
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("wait")
    await until(lambda: Room.gate is not None)
    for number in range(6):
        worker.push("echo", ref=str(number))
    Room.gate.set()
    await worker.wait(commands.Reply, 6)
    assert paces(worker) == []


@scenario()
async def test_pushes_on_a_paused_topic_wait_and_all_else_goes_on(worker):
    worker.join(1)
    worker.join(2, "room:2")
    await worker.wait(commands.Joined, 2)
    worker.do(commands.TopicPaused("room:1"))
    worker.join(3)  # joined later, it waits as well
    await worker.wait(commands.Joined, 3)
    for number in range(3):
        worker.push("echo", ref=str(number))
    worker.push("echo", number=3, ref="3")
    worker.push("echo", number=2, ref="other")
    assert (await worker.wait(commands.Reply)).ref == "other"
    header = Header(VERSION, BROADCAST, "w", 9, "secret", JSON)
    worker.channels.members.broadcast("room:1", header, b"{}")
    await worker.wait(commands.Pushed, 2)
    assert worker.channels.waiting() == 4
    worker.do(commands.TopicResumed("room:1"))
    await worker.wait(commands.Reply, 5)
    replies = [(each.channel, each.ref) for each in worker.sent if isinstance(each, commands.Reply)]
    assert [ref for channel, ref in replies if channel == 1] == ["0", "1", "2"]
    assert (3, "3") in replies


@scenario()
async def test_a_channel_that_is_left_handles_first_what_waited(worker):
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    worker.do(commands.TopicPaused("room:1"))
    for number in (1, 2):
        worker.push("both", number=number, ref="a")
        worker.push("both", number=number, ref="b")
    worker.do(commands.Leave(1, "leave"))
    worker.do(commands.SocketDown([2], "closed"))
    await worker.wait(commands.Closed)
    assert [each.ref for each in worker.sent if isinstance(each, commands.Reply)] == ["a", "b", "leave"]
    await until(lambda: sorted(Room.ended) == ["closed", "left"])
    assert len(worker.bus.published) == 4


@scenario()
async def test_a_pause_ends_with_its_gateway(worker):
    other = b"another gateway"
    worker.channels.gateway_up(other, "h")
    worker.join()
    await worker.wait(commands.Joined)
    worker.channels.handle(other, commands.TopicPaused("room:1"))
    worker.do(commands.TopicPaused("room:1"))
    worker.push("echo")
    worker.do(commands.TopicResumed("room:1"))
    await asyncio.sleep(0)
    assert worker.channels.waiting() == 1
    worker.channels.gateway_down(other)
    await worker.wait(commands.Reply)


@scenario()
async def test_the_channels_of_a_slow_gateway_handle_no_pushes(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.channels.pause_link(LINK, True)
    worker.push("echo")
    await until(lambda: not worker.channels.runners.active)
    assert not any(isinstance(each, commands.Reply) for each in worker.sent)
    worker.channels.pause_link(LINK, False)
    await worker.wait(commands.Reply)


@scenario(max_mailbox_messages=10)
async def test_what_waits_for_a_paused_topic_is_bounded(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.do(commands.TopicPaused("room:1"))
    for number in range(20):
        worker.push("echo", ref=str(number))
        await until(lambda: not worker.channels.runners.active)
    await worker.wait(commands.Crashed)


@scenario()
async def test_callbacks_that_take_long_leave_turns_to_others(worker):
    worker.join()
    await worker.wait(commands.Joined)
    turns = []
    for _ in range(40):
        worker.push("toil")
    while worker.channels.runners.active:
        turns.append(worker.channels.waiting())
        await asyncio.sleep(0)
    assert len(turns) > 3
