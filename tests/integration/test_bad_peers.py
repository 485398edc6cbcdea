"""Workers and gateways that break the link protocol, over real sockets: who pays, who is tried again."""

import asyncio
import contextlib

import msgspec
import pytest
import zmq

from gateway.joins.worker_links import WorkerLinks
from mesh import settings
from mesh.bus.discovery.placement import Announcement, Placement
from mesh.link import commands
from mesh.link.backoff import FIRST_SECONDS, End
from mesh.link.dealer import PING, Dealer
from mesh.link.handlers import DealerHandlers, RouterHandlers
from mesh.link.router import Router
from mesh.telemetry import counters
from tests.support.until import PATIENCE, until

SILENCE = 0.5
LINK = settings.load(flags={"link": {"heartbeat_seconds": 60, "heartbeat_timeout_seconds": 60}}).link
PACK = msgspec.msgpack.encode


class FakeWorker:
    """A ROUTER that says what a test wants to the gateway that said something last."""

    def __init__(self, context):
        self.router = context.socket(zmq.ROUTER)
        self.router.linger = 0
        self.router.bind("tcp://127.0.0.1:*")
        self.address = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.hellos = 0

    async def hello(self):
        """The next Hello; other batches are dropped."""
        while True:
            await until(lambda: self.router.poll(0))
            self.link, batch = self.router.recv_multipart()
            first = msgspec.msgpack.decode(batch)[:1]
            if first and first[0][0] == 0:
                self.hellos += 1
                return

    def say(self, *batch):
        self.send(PACK(batch))

    def send(self, data):
        self.router.send_multipart([self.link, data])

    async def welcome(self):
        await self.hello()
        self.say([1, 2, "w"])


class Gateway:
    """The links of a gateway, with an announcer that says what a test wants."""

    def __init__(self, context, worker):
        self.placement, self.lost, self.heard, self.malformed = Placement(), [], [], []
        self.failing_channel = None
        self.announcement = Announcement(
            node="w", kind="worker", link=worker.address, routes=(("/socket", "room:*"),)
        )
        self.workers = WorkerLinks(self, context, "g", self, LINK, 60.0, 10, SILENCE)

    def on_command(self, _, command):
        if command.channel == self.failing_channel:
            raise ValueError("cannot")
        self.heard.append(command)

    def on_malformed(self, _, command):
        self.malformed.append(command)

    def on_lost(self, _, died):
        self.lost.append(died)

    def on_linked(self, _): ...

    def on_behind(self, *_): ...

    def report_lost(self, worker): ...

    def announce(self):
        now = asyncio.get_running_loop().time()
        self.placement.heard(self.announcement, now)
        self.workers.announced(self.announcement)

    async def linked(self):
        await until(lambda: self.workers.links)


@contextlib.contextmanager
def pair():
    with zmq.Context() as context:
        worker = FakeWorker(context)
        gateway = Gateway(context, worker)
        try:
            yield gateway, worker
        finally:
            gateway.workers.close()
            worker.router.close(0)


def scenario(test):
    def run():
        async def main():
            with pair() as (gateway, worker):
                await asyncio.wait_for(test(gateway, worker), PATIENCE)

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


REPLY = [9, 2, 0, "1", "ok", 0, b"{}"]


@scenario
async def test_a_text_where_bytes_belong_costs_one_channel_and_the_others_of_the_batch_go_on(
    gateway, worker
):
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    worker.say(REPLY, [9, 7, 0, "1", "ok", 0, "text"], [99, 1], [1, 2, "w"], REPLY)
    await until(lambda: len(gateway.heard) == 2)
    assert [each.channels for each in gateway.malformed] == [(7,)]
    assert gateway.workers.received("w") == 6, "Welcome, and each of the batch"
    assert gateway.workers.links == 1
    assert gateway.lost == []


@scenario
async def test_an_error_of_ours_with_one_command_costs_its_channel_and_no_other_command(gateway, worker):
    gateway.failing_channel = 7
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    worker.say([12, 7, 0], REPLY)
    await until(lambda: gateway.heard)
    assert [each.channels for each in gateway.malformed] == [(7,)]


BROKEN = {
    "a batch that is none": b"\xc2",
    "a command that names nothing": PACK([REPLY, [9]]),
    "another Welcome": PACK([[1, 2, "somebody else"]]),
    "the end": PACK([[1, 0, "w"]]),
    "Incompatible": PACK([[15, 7, 8]]),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_attributed_ends_the_link_which_is_tried_again_more_and_more_rarely(data):
    @scenario
    async def test(gateway, worker):
        loop = asyncio.get_running_loop()
        before = counters.value("links_failed")
        for _ in range(4):
            hellos = worker.hellos
            hello = asyncio.create_task(worker.welcome())
            while worker.hellos == hellos and "w" not in gateway.workers._incompatible:
                gateway.announce()
                await asyncio.sleep(0.01)
            if hello.done() or worker.hellos > hellos:
                await hello
                await gateway.linked()
                assert gateway.workers.serves("/socket", "room:*")
                worker.send(data)
                await until(lambda: not gateway.workers.links)
            hello.cancel()
        assert not gateway.workers.serves("/socket", "room:*")
        assert set(gateway.lost) == {True}
        if data == BROKEN["Incompatible"]:
            assert worker.hellos == 1
            return
        assert counters.value("links_failed") == before + 4
        assert gateway.workers._backoff.waits("w", loop.time()) > 0.9, (
            "the fourth: 2 s, less a half by chance"
        )

    test()


@pytest.mark.parametrize("answer", [[1, 99, "w"], [1, 2, "other"], [1, -1, "w"]], ids=repr)
def test_a_welcome_that_is_none_is_a_failure_but_no_death(answer):
    @scenario
    async def test(gateway, worker):
        gateway.announce()
        await worker.hello()
        worker.say(answer)
        await until(lambda: gateway.lost)
        assert gateway.lost == [False]
        assert gateway.workers._backoff.avoids("w")

    test()


@scenario
async def test_an_address_that_cannot_be_used_is_not_tried_with_each_announcement(gateway, worker):
    before = counters.value("links_failed")
    gateway.announcement = msgspec.structs.replace(gateway.announcement, link="nonsense://here")
    for _ in range(100):
        gateway.announce()
    assert counters.value("links_failed") == before + 1


@scenario
async def test_a_name_that_nobody_knows_is_a_failure_like_any_other(gateway, worker):
    gateway.announcement = msgspec.structs.replace(gateway.announcement, link="tcp://nowhere.invalid:5000")
    gateway.announce()
    await until(lambda: gateway.lost)
    assert gateway.lost == [False]
    assert gateway.workers._backoff.waits("w", asyncio.get_running_loop().time()) >= 0.0
    assert not gateway.workers._dealers


@scenario
async def test_a_worker_that_is_silent_on_the_bus_and_on_its_link_is_dead(gateway, worker):
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    gateway.workers.gone(gateway.announcement)
    until_then = asyncio.get_running_loop().time() + 4 * SILENCE
    while asyncio.get_running_loop().time() < until_then:
        worker.say([13])  # it is there, whatever became of the bus
        await asyncio.sleep(SILENCE / 20)
    assert gateway.workers.links == 1
    await until(lambda: gateway.lost)
    assert gateway.lost == [True]


@scenario
async def test_a_worker_that_is_heard_on_the_bus_may_say_nothing_on_its_link(gateway, worker):
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    gateway.workers.gone(gateway.announcement)
    gateway.announce()
    assert not gateway.workers._silence._nodes


@scenario
async def test_a_worker_that_says_goodbye_does_not_die(gateway, worker):
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    gateway.workers.gone(msgspec.structs.replace(gateway.announcement, state="down"))
    worker.router.close(0)
    await until(lambda: gateway.lost)
    assert gateway.lost == [False]


@scenario
async def test_a_worker_that_stops_again_and_again_under_one_id_has_to_wait_each_time(gateway, worker):
    began = asyncio.get_running_loop().time()
    for stops in range(1, 4):
        while not gateway.workers._dealers:
            gateway.announce()
            await asyncio.sleep(0.01)
        await worker.welcome()
        await gateway.linked()
        gateway.workers.mark_draining("w")
        worker.say([1, 0, "w"])
        await until(lambda: len(gateway.lost) == stops)  # noqa: B023
    assert gateway.lost == [False] * 3
    assert asyncio.get_running_loop().time() - began > FIRST_SECONDS * (1 + 2) / 2
    assert gateway.workers._backoff.waits("w", asyncio.get_running_loop().time()) > FIRST_SECONDS


@scenario
async def test_a_worker_that_names_a_route_twice_is_gone_when_it_is_gone(gateway, worker):
    route = ("/socket", "room:*")
    gateway.announcement = msgspec.structs.replace(gateway.announcement, routes=(route, route))
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    assert gateway.workers.serves(*route)
    worker.say([1, 0, "w"])
    await until(lambda: gateway.lost)
    assert not gateway.workers.serves(*route)


@scenario
async def test_a_worker_of_other_versions_is_tried_again_once_it_has_gone(gateway, worker):
    gateway.announce()
    await worker.hello()
    worker.say([15, 77, 78])
    await until(lambda: not gateway.workers._dealers)
    gateway.announce()
    assert not gateway.workers._dealers
    gateway.workers.gone(msgspec.structs.replace(gateway.announcement, state="down"))
    gateway.announce()
    await worker.welcome()
    await gateway.linked()


# The worker's side


class Worker:
    """A Router, and what came."""

    def __init__(self, context):
        self.heard, self.malformed, self.down = [], [], []
        self.router = Router(context, "w", LINK, "tcp://127.0.0.1:*")
        self.router.start(
            RouterHandlers(
                on_up=lambda *_: None,
                on_command=lambda _, command: self.heard.append(command),
                on_malformed=lambda _, channel: self.malformed.append(channel),
                on_down=self.down.append,
                on_gone=lambda _: None,
                on_behind=lambda *_: None,
            )
        )


class FakeGateway:
    def __init__(self, context, address):
        self.dealer = context.socket(zmq.DEALER)
        self.dealer.linger = 0
        self.dealer.connect(address)

    def say(self, *batch):
        self.dealer.send(PACK(batch))

    async def answer(self, number):
        """The next command of this number."""
        while True:
            await until(lambda: self.dealer.poll(0))
            for command in msgspec.msgpack.decode(self.dealer.recv()):
                if command[0] == number:
                    return command


def with_worker(test):
    def run():
        async def main():
            with zmq.Context() as context:
                worker = Worker(context)
                gateways = []

                def connect():
                    gateways.append(FakeGateway(context, worker.router.address))
                    return gateways[-1]

                try:
                    await asyncio.wait_for(test(worker, connect), PATIENCE)
                finally:
                    worker.router.close()
                    for each in gateways:
                        each.dealer.close(0)

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@with_worker
async def test_a_malformed_push_costs_its_channel_and_the_others_of_the_batch_go_on(worker, connect):
    gateway = connect()
    gateway.say([0, 2, "g", 1])
    assert await gateway.answer(1) == [1, 2, "w"]
    gateway.say([4, 1, "1"], [3, 7, "1", "e", 0, "text"], [99, 1], [4, 2, "1"])
    await until(lambda: len(worker.heard) == 2)
    assert worker.malformed == [7]
    assert worker.router.links == 1


@with_worker
async def test_a_gateway_that_cannot_be_understood_is_told_and_has_to_wait(worker, connect):
    gateway = connect()
    gateway.say([0, 2, "g", 1])
    await gateway.answer(1)
    gateway.dealer.send(b"\xc2")
    assert await gateway.answer(1) == [1, commands.ENDED, "w"]
    assert len(worker.down) == 1
    assert worker.router.links == 0
    again = connect()
    again.say([0, 2, "g", 1])
    assert await again.answer(1) == [1, commands.ENDED, "w"], "too early"
    other = connect()
    other.say([0, 2, "another", 1])
    assert await other.answer(1) == [1, 2, "w"]
    version = commands.ENDED
    while version == commands.ENDED:
        again.say([0, 2, "g", 1])
        version = (await again.answer(1))[1]
    assert version == 2


@with_worker
async def test_a_gateway_that_is_silent_on_the_bus_and_on_its_link_is_dead(worker, connect):
    frozen, alive = connect(), connect()
    for gateway, name in ((frozen, "frozen"), (alive, "alive")):
        gateway.say([0, 2, name, 1])
        await gateway.answer(1)
    await asyncio.sleep(SILENCE)
    alive.dealer.send(PING)
    await until(lambda: not worker.router.gateway_silent("frozen", SILENCE))
    assert worker.router.gateway_silent("alive", 30.0)
    assert await frozen.answer(1) == [1, commands.ENDED, "w"]
    assert worker.router.links == 1


def test_a_gateway_pings_so_that_an_idle_link_is_not_silent():
    async def main():
        with zmq.Context() as context:
            worker = FakeWorker(context)
            down = []
            handlers = DealerHandlers(
                on_up=lambda _: None,
                on_command=lambda *_: None,
                on_malformed=lambda *_: None,
                on_down=lambda *end: down.append(end),
                on_incompatible=down.append,
                on_behind=lambda *_: None,
            )
            dealer = Dealer(context, LINK, "g", "w", worker.address, None, handlers)
            await worker.welcome()
            await until(lambda: dealer.up and worker.router.poll(0))
            assert worker.router.recv_multipart()[1] == PING
            dealer.end_if_silent(0.0)
            assert down[0][1] is End.SILENCE
            worker.router.close(0)

    asyncio.run(main())
