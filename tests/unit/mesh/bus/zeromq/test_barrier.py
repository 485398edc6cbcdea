"""mesh/bus/zeromq/barrier.py: who waits for subscriptions, and who no longer does."""

import asyncio
from types import SimpleNamespace

import pytest

from mesh.bus.delivery import subscribed
from mesh.bus.zeromq.barrier import Barrier


class Subscriber:
    def subscribe(self, subscription): ...

    def unsubscribe(self, subscription): ...

    def not_in_force(self):
        return []

    def in_force(self, subscriptions): ...


class ProxyConnection:
    unavailable = False


class Bus:
    """One with a connection that answers when it is told to."""

    def __init__(self):
        self.connection = ProxyConnection()
        publisher = SimpleNamespace(connections=[self.connection], probe=lambda *_: None, origin="a")
        self.barrier = Barrier(publisher, Subscriber(), 60.0)

    def when_subscribed(self, callback):
        return self.barrier.when_complete(callback)

    def answer(self):
        self.barrier.echo(self.barrier._topic, self.connection)

    @property
    def known(self):
        return len(self.barrier._waiting) + len(self.barrier._probed_callbacks)


def run(scenario):
    async def main():
        bus = Bus()
        try:
            await scenario(bus)
        finally:
            bus.barrier.close()

    asyncio.run(main())


@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "being probed"])
def test_who_gives_up_is_forgotten(begun):
    async def scenario(bus):
        if not begun:
            bus.when_subscribed(lambda: None)
            await asyncio.sleep(0)
        before = bus.known
        asked = [subscribed(bus) for _ in range(100)]
        await asyncio.sleep(0)
        stays = asked.pop()
        for each in asked:
            each.cancel()
        await asyncio.sleep(0)
        assert bus.known == before + 1
        for _ in range(2):
            bus.answer()
            await asyncio.sleep(0)
        assert stays.done()
        assert bus.known == 0

    run(scenario)


def test_a_time_out_gives_up():
    async def scenario(bus):
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await subscribed(bus)
        await asyncio.sleep(0)
        assert bus.known == 0

    run(scenario)


def test_those_who_wait_are_called_in_the_order_in_which_they_asked_each_batch_by_its_own_probe():
    async def scenario(bus):
        called = []
        for number in range(3):
            bus.when_subscribed(lambda number=number: called.append(number))
        first = subscribed(bus)
        await asyncio.sleep(0)
        second = subscribed(bus)
        bus.answer()
        assert called == [0, 1, 2]
        assert (first.done(), second.done()) == (True, False)
        await asyncio.sleep(0)
        bus.answer()
        assert second.done()

    run(scenario)
