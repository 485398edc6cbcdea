"""Gateways that violate the link protocol, over real sockets: what a worker does about them."""

import asyncio

import zmq

from mesh.link import commands
from mesh.link.dealer import PING
from mesh.link.handlers import RouterHandlers
from mesh.link.router import Router
from tests.integration.link_peers import LINK, SILENCE, FakeGateway
from tests.support.until import PATIENCE, until


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
async def test_a_malformed_push_ends_only_its_channel(worker, connect):
    gateway = connect()
    gateway.say([0, 2, "g", 1])
    assert await gateway.answer(1) == [1, 2, "w"]
    gateway.say([4, 1, "1"], [3, 7, "1", "e", 0, "text"], [99, 1], [4, 2, "1"])
    await until(lambda: len(worker.heard) == 2)
    assert worker.malformed == [7]
    assert worker.router.links == 1


@with_worker
async def test_a_gateway_that_sends_garbage_is_disconnected_and_refused_for_a_while(worker, connect):
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
async def test_a_gateway_silent_on_bus_and_link_is_declared_dead(worker, connect):
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
