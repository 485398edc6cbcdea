"""gateway/transports/idle_timer.py: who stood still himself calls nobody silent."""

import asyncio

from mesh.gateway.transports.idle_timer import IdleTimer
from tests.support.virtual_time import run_virtually


def stand_still(seconds):
    asyncio.get_running_loop()._now += seconds


def looks(scenario):
    """When a look was taken every second of a story."""
    seen = []

    async def told():
        timer = IdleTimer(1.0, seen.append)
        await scenario(timer)
        timer.cancel()
        await asyncio.sleep(10)

    run_virtually(told())
    return seen


def test_a_look_is_taken_every_interval_until_it_is_cancelled():
    assert looks(lambda _: asyncio.sleep(3.5)) == [1, 2, 3]


def test_a_short_delay_leaves_nothing_out():
    async def scenario(_):
        await asyncio.sleep(0.5)
        stand_still(1.4)
        await asyncio.sleep(1.5)

    assert looks(scenario) == [1.9, 2.9]


def test_the_round_after_standing_still_is_left_out():
    async def scenario(_):
        await asyncio.sleep(1.5)
        stand_still(30)
        await asyncio.sleep(1.6)

    assert looks(scenario) == [1, 32.5]


def test_who_stands_still_all_the_time_looks_every_other_time():
    async def scenario(_):
        for _ in range(4):
            stand_still(5)
            for _ in range(3):
                await asyncio.sleep(0)

    assert looks(scenario) == [10, 20]
