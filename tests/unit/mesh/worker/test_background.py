"""mesh/worker/background.py: started once, again after a pause when it raises, cancelled at the end."""

import asyncio
import itertools
from contextvars import ContextVar

import pytest

from mesh import Endpoint
from mesh.errors import ApplicationError
from mesh.telemetry import counters
from mesh.worker.background import BackgroundTasks
from tests.support.virtual_time import run_virtually


def test_a_task_that_raises_starts_again_after_a_pause_that_grows():
    starts = []

    async def failing():
        starts.append(asyncio.get_running_loop().time())
        raise RuntimeError("raised on request")

    async def scenario():
        failed = counters.value("background_tasks_failed")
        tasks = BackgroundTasks([failing], 5.0)
        tasks.start()
        await asyncio.sleep(200)
        await tasks.aclose()
        assert counters.value("background_tasks_failed") == failed + len(starts)

    run_virtually(scenario())
    pauses = [round(late - early, 3) for early, late in itertools.pairwise(starts)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert set(pauses[9:]) == {30.0}


def test_each_run_starts_without_the_context_variables_of_the_last_one():
    run = ContextVar("run", default=None)
    seen = []

    async def failing():
        seen.append(run.get())
        run.set(len(seen))
        await asyncio.sleep(1)
        seen.append(run.get())
        raise RuntimeError("raised on request")

    async def scenario():
        tasks = BackgroundTasks([failing], 5.0)
        tasks.start()
        await asyncio.sleep(3)
        await tasks.aclose()

    run_virtually(scenario())
    assert seen[:4] == [None, 1, None, 3]


def test_a_task_that_ran_long_enough_starts_again_soon():
    starts = []

    async def failing_each_hour():
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(3_600)
        raise RuntimeError("raised on request")

    async def scenario():
        tasks = BackgroundTasks([failing_each_hour], 5.0)
        tasks.start()
        await asyncio.sleep(3 * 3_600 + 1)
        await tasks.aclose()

    run_virtually(scenario())
    assert [round(each, 3) for each in starts] == [0, 3_600.1, 7_200.2, 10_800.3]


def test_a_task_that_returns_is_done_and_others_go_on():
    done, ticks = [], []

    async def once():
        done.append(1)

    async def ticking():
        while True:
            ticks.append(1)
            await asyncio.sleep(1)

    async def scenario():
        tasks = BackgroundTasks([once, ticking], 5.0)
        tasks.start()
        await asyncio.sleep(9.5)
        await tasks.aclose()

    run_virtually(scenario())
    assert (len(done), len(ticks)) == (1, 10)


def test_a_task_cancelled_from_inside_starts_again():
    starts = []

    async def cancelling():
        starts.append(1)
        if len(starts) == 1:
            raise asyncio.CancelledError

    async def scenario():
        tasks = BackgroundTasks([cancelling], 5.0)
        tasks.start()
        await asyncio.sleep(1)
        await tasks.aclose()

    run_virtually(scenario())
    assert len(starts) == 2


@pytest.mark.parametrize("error", [asyncio.CancelledError, ValueError])
def test_a_task_that_cancelled_itself_starts_again_uncancelled(error):
    seen = []

    async def cancelling():
        task = asyncio.current_task()
        seen.append(task.cancelling())
        if len(seen) == 1:
            task.cancel()
            try:
                await asyncio.sleep(0)
            finally:
                raise error

    async def scenario():
        tasks = BackgroundTasks([cancelling], 5.0)
        tasks.start()
        await asyncio.sleep(1)
        await tasks.aclose()

    run_virtually(scenario())
    assert seen == [0, 0]


def test_the_end_lets_a_task_clean_up_but_not_for_ever():
    cleaned = []

    async def cleaning():
        try:
            await asyncio.sleep(1_000)
        finally:
            await asyncio.sleep(1)
            cleaned.append(1)

    async def deaf():
        while True:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                if asyncio.get_running_loop().time() > 50:
                    raise

    async def scenario():
        loop = asyncio.get_running_loop()
        tasks = BackgroundTasks([cleaning, deaf], 5.0)
        tasks.start()
        await asyncio.sleep(1)
        await tasks.aclose()
        assert loop.time() == 6.0
        await asyncio.sleep(100)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert len(left) == 1
        for task in left:
            task.cancel()
        await asyncio.wait(left)

    run_virtually(scenario())
    assert cleaned == [1]


def test_nothing_starts_after_the_end():
    async def never():
        raise AssertionError("started")

    async def scenario():
        tasks = BackgroundTasks([never], 5.0)
        await tasks.aclose()
        tasks.start()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(scenario())


class Ticker:
    async def __call__(self): ...


def plain(): ...
async def wants_an_argument(endpoint): ...


def test_an_endpoint_takes_coroutine_functions_without_arguments_only():
    async def good(): ...

    assert Endpoint({}, background=[good, Ticker()]).background[0] is good
    for wrong in (plain, Ticker, 7, good.__call__):
        with pytest.raises(ApplicationError, match="not a coroutine function"):
            Endpoint({}, background=[wrong])
    with pytest.raises(ApplicationError, match="without arguments: missing a required argument"):
        Endpoint({}, background=[wants_an_argument])
