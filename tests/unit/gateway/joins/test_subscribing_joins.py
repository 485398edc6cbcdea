"""gateway/joins/pending.py: joins do not wait for a silent bus for ever, in virtual time."""

import asyncio

from mesh.gateway.joins.pending import SubscribingJoins
from mesh.telemetry import counters
from tests.support.virtual_time import run_virtually

SECONDS = 5.0


class Bus:
    """Answers when a test says so."""

    def __init__(self):
        self.asked = []

    def when_subscribed(self, callback):
        self.asked.append(callback)

    def answer(self):
        asked, self.asked = self.asked, []
        for callback in asked:
            callback()


def world(scenario, max_joins=10):
    async def guarded():
        bus, placed, refused = Bus(), [], []
        waits = SubscribingJoins(bus, SECONDS, max_joins, placed.append, refused.append)
        await scenario(waits, bus, placed, refused)

    run_virtually(guarded())


def test_a_join_goes_on_when_the_bus_answers():
    async def scenario(waits, bus, placed, refused):
        waits.wait("one")
        bus.answer()
        await asyncio.sleep(2 * SECONDS)
        assert (placed, refused) == (["one"], [])

    world(scenario)


def test_a_join_is_refused_when_the_bus_does_not_answer_and_a_late_answer_is_nothing():
    async def scenario(waits, bus, placed, refused):
        before = counters.value("joins_without_bus")
        waits.wait("one")
        await asyncio.sleep(SECONDS - 0.1)
        waits.wait("two")
        assert refused == []
        await asyncio.sleep(0.5)
        assert refused == ["one"]
        await asyncio.sleep(SECONDS)
        assert refused == ["one", "two"]
        bus.answer()
        assert placed == []
        assert counters.value("joins_without_bus") == before + 2

    world(scenario)


def test_who_is_gone_is_neither_placed_nor_refused():
    async def scenario(waits, bus, placed, refused):
        waits.wait("one")
        waits.forget("one")
        await asyncio.sleep(2 * SECONDS)
        bus.answer()
        assert placed == refused == []

    world(scenario)


def test_a_long_silence_costs_a_bounded_number_of_joins():
    async def scenario(waits, bus, placed, refused):
        for number in range(5):
            waits.wait(number)
        await asyncio.sleep(0)
        assert len(bus.asked) == 3
        assert refused == [3, 4], "at once: nothing piles up behind those that were given up"
        bus.answer()
        waits.wait(5)
        bus.answer()
        assert placed == [0, 1, 2, 5]

    world(scenario, max_joins=3)
