"""mesh/runtime: a worker's channels, with a link that writes down and a bus that numbers."""

import asyncio

import msgspec
import pytest

from mesh import Channel, Endpoint, SocketHandler, on
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.link import commands
from mesh.messages import JSON, Sender
from mesh.runtime.channels import Channels
from mesh.settings import WorkerSettings
from mesh.telemetry import counters
from tests.support.until import until

LINK = b"link"


class Bus:
    def __init__(self):
        self.sequence = 0
        self.published = []
        self.subscribed = []

    def publish(self, topic, event, codec, data, sender):
        self.sequence += 1
        self.published.append((topic, event, sender))
        self.channels.published(topic, self.sequence)
        return self.sequence

    def subscribe(self, subscription):
        self.subscribed.append(subscription)

    def unsubscribe(self, subscription):
        self.subscribed.remove(subscription)

    def when_subscribed(self, callback):
        callback()


class Room(Channel):
    intercept = ("secret",)
    ended = []

    @on("echo")
    def echo(self, payload):
        return payload

    @on("both")
    def both(self, payload):
        self.broadcast("news", payload)
        return {}

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

    def handle_info(self, message): ...

    def terminate(self, reason):
        self.ended.append(str(reason))


class User(SocketHandler):
    channels = {"room:*": Room}


class Worker:
    """Channels with a gateway linked."""

    def __init__(self, **settings):
        self.bus, self.sent = Bus(), []
        self.channels = Channels(
            Endpoint({"/socket": User}), self.bus, self.send, WorkerSettings(**settings)
        )
        self.bus.channels = self.channels
        self.channels.gateway_up(LINK, "g")
        Room.ended.clear()

    def send(self, link, command):
        assert link == LINK
        self.sent.append(command)
        return len(self.sent)

    def join(self, number=1, topic="room:1"):
        assigns = msgspec.msgpack.encode({})
        self.do(
            commands.Join(number, "/socket", topic, "1", None, "websocket", "v2_json", assigns, JSON, b"{}")
        )

    def push(self, event, data=b"{}", number=1, ref="2"):
        self.do(commands.Push(number, ref, event, JSON, data))

    def do(self, command):
        self.channels.handle(LINK, command)

    async def wait(self, kind, count=1):
        await until(lambda: sum(isinstance(each, kind) for each in self.sent) >= count, 5)
        return [each for each in self.sent if isinstance(each, kind)][count - 1]


def scenario(**settings):
    def decorate(test):
        def run():
            async def main():
                worker = Worker(**settings)
                await test(worker)
                await worker.channels.aclose()

            asyncio.run(main())

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
    worker.channels.broadcast("room:1", header, b'{"k":1}')
    worker.channels.broadcast("room:1", Header(VERSION, BROADCAST, "w", 10, "open", JSON), b"{}")
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
async def test_a_lost_gateway_ends_its_channels_and_nothing_is_sent_to_it(worker):
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    sent = len(worker.sent)
    worker.channels.gateway_down(LINK)
    await until(lambda: Room.ended == ["closed", "closed"], 5)
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
