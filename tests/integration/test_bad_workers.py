"""Workers that violate the link protocol, over real sockets: what a gateway does about them."""

import asyncio
import contextlib

import msgspec
import pytest
import zmq

from mesh.bus.discovery.placement import Announcement, Placement
from mesh.gateway.joins.worker_links import WorkerLinks
from mesh.link.backoff import FIRST_SECONDS, End
from mesh.link.dealer import PING, Dealer
from mesh.link.handlers import DealerHandlers
from mesh.telemetry import counters
from tests.integration.link_peers import LINK, PACK, SILENCE, FakeWorker
from tests.support.until import PATIENCE, until


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
        self.placement.record(self.announcement, now)
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
async def test_a_malformed_command_ends_only_its_channel(gateway, worker):
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
async def test_an_exception_while_handling_a_command_ends_only_its_channel(gateway, worker):
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
def test_a_violation_without_a_channel_ends_the_link_which_is_retried_with_backoff(data):
    @scenario
    async def test(gateway, worker):
        loop = asyncio.get_running_loop()
        before = counters.value("links_failed")
        retried = data != BROKEN["Incompatible"]
        for _ in range(4 if retried else 1):
            hellos, began = worker.hellos, loop.time()
            hello = asyncio.create_task(worker.welcome())
            while worker.hellos == hellos:
                gateway.announce()
                await asyncio.sleep(0.01)
            await hello
            waited = loop.time() - began
            await gateway.linked()
            assert gateway.workers.serves("/socket", "room:*")
            worker.send(data)
            await until(lambda: not gateway.workers.links)
        gateway.announce()
        assert not gateway.workers.linked("w"), "too early, or never if it is incompatible"
        assert not gateway.workers.serves("/socket", "room:*")
        assert set(gateway.lost) == {True}
        if not retried:
            return
        assert counters.value("links_failed") == before + 4
        assert waited > 0.9 * FIRST_SECONDS * 4 / 2, "before the fourth: 1 s, minus at most half"

    test()


@pytest.mark.parametrize("answer", [[1, 99, "w"], [1, 2, "other"], [1, -1, "w"]], ids=repr)
def test_an_invalid_welcome_is_a_failed_link_and_not_a_lost_worker(answer):
    @scenario
    async def test(gateway, worker):
        gateway.announce()
        await worker.hello()
        worker.say(answer)
        await until(lambda: gateway.lost)
        assert gateway.lost == [False]
        gateway.announce()
        assert not gateway.workers.linked("w"), "not retried at once"

    test()


@scenario
async def test_an_unusable_address_is_not_retried_at_each_announcement(gateway, worker):
    before = counters.value("links_failed")
    gateway.announcement = msgspec.structs.replace(gateway.announcement, link="nonsense://here")
    for _ in range(100):
        gateway.announce()
    assert counters.value("links_failed") == before + 1


@scenario
async def test_an_unresolvable_name_is_a_failed_link(gateway, worker):
    gateway.announcement = msgspec.structs.replace(gateway.announcement, link="tcp://nowhere.invalid:5000")
    gateway.announce()
    await until(lambda: gateway.lost)
    assert gateway.lost == [False]
    assert not gateway.workers.linked("w")


@scenario
async def test_a_worker_silent_on_bus_and_link_is_declared_dead(gateway, worker):
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
async def test_a_worker_that_announces_itself_again_may_be_silent_on_its_link(gateway, worker):
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    gateway.workers.gone(gateway.announcement)
    gateway.announce()
    await asyncio.sleep(4 * SILENCE)
    assert gateway.workers.links == 1
    assert gateway.lost == []


@scenario
async def test_a_worker_that_announced_its_stop_is_not_declared_dead(gateway, worker):
    gateway.announce()
    await worker.welcome()
    await gateway.linked()
    gateway.workers.gone(msgspec.structs.replace(gateway.announcement, state="down"))
    worker.router.close(0)
    await until(lambda: gateway.lost)
    assert gateway.lost == [False]


@scenario
async def test_a_worker_that_restarts_repeatedly_under_one_id_is_linked_with_backoff(gateway, worker):
    began = asyncio.get_running_loop().time()
    for stops in range(1, 4):
        while not gateway.workers.linked("w"):
            gateway.announce()
            await asyncio.sleep(0.01)
        await worker.welcome()
        await gateway.linked()
        gateway.workers.mark_draining("w")
        worker.say([1, 0, "w"])
        await until(lambda: len(gateway.lost) == stops)  # noqa: B023
    assert gateway.lost == [False] * 3
    assert asyncio.get_running_loop().time() - began > FIRST_SECONDS * (1 + 2) / 2
    gateway.announce()
    assert not gateway.workers.linked("w"), "it waits again"


@scenario
async def test_a_worker_that_announces_a_route_twice_is_removed_completely(gateway, worker):
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
async def test_an_incompatible_worker_is_retried_after_it_has_stopped(gateway, worker):
    gateway.announce()
    await worker.hello()
    worker.say([15, 77, 78])
    await until(lambda: not gateway.workers.linked("w"))
    gateway.announce()
    assert not gateway.workers.linked("w")
    gateway.workers.gone(msgspec.structs.replace(gateway.announcement, state="down"))
    gateway.announce()
    await worker.welcome()
    await gateway.linked()


def test_a_gateway_pings_an_idle_link():
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
