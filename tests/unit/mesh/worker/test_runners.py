"""mesh/worker/runners.py: callbacks that do not suspend share a task, those that do get their own."""

import asyncio
from contextvars import Context

import pytest

from mesh.worker.runners import Runners


class Job:
    def __init__(self, coroutine_function):
        self.task = None
        self.execution_context = Context()
        self._function = coroutine_function

    def run(self):
        return self._function()


async def settle(predicate):
    async with asyncio.timeout(5):
        while not predicate():
            await asyncio.sleep(0)


def test_work_that_does_not_suspend_runs_in_one_task():
    async def scenario():
        runners, tasks = Runners(), []

        async def work():
            tasks.append(asyncio.current_task())

        for _ in range(100):
            runners.submit(Job(work))
        await settle(lambda: len(tasks) == 100)
        assert len(set(tasks)) == 1
        await runners.aclose()

    asyncio.run(scenario())


def turns(runners, jobs):
    """How many pieces of work each turn of the event loop had."""

    async def scenario():
        done, counts = [], [0]

        async def work():
            done.append(1)
            counts[-1] += 1

        for _ in range(jobs):
            runners.submit(Job(work))
        while len(done) < jobs:
            counts.append(0)
            await asyncio.sleep(0)
        await runners.aclose()
        return [each for each in counts if each]

    return asyncio.run(scenario())


def test_a_turn_ends_by_the_clock(monkeypatch):
    monkeypatch.setattr("mesh.worker.runners.TICK_BUDGET_SECONDS", 60.0)
    assert len(turns(Runners(), 20)) == 1
    monkeypatch.setattr("mesh.worker.runners.TICK_BUDGET_SECONDS", 0.0)
    assert turns(Runners(), 5) == [1] * 5


def test_slow_runners_do_one_piece_of_work_in_a_turn():
    runners = Runners()
    runners.throttle(True)
    assert turns(runners, 5) == [1] * 5
    runners.throttle(False)
    assert not runners.throttled


def test_work_that_suspends_does_not_stop_the_rest():
    async def scenario():
        runners, gate, done = Runners(), asyncio.Event(), []

        async def slow():
            await gate.wait()
            done.append("slow")

        async def quick():
            done.append("quick")

        for job in (slow, quick, slow, quick):
            runners.submit(Job(job))
        await settle(lambda: done == ["quick", "quick"])
        gate.set()
        await settle(lambda: len(done) == 4)
        runners.submit(Job(quick))
        await settle(lambda: len(done) == 5)
        await runners.aclose()

    asyncio.run(scenario())


def test_time_outs_and_cancellation_work_inside_a_callback():
    async def scenario():
        runners, seen = Runners(), []

        async def times_out():
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(60)
            except TimeoutError:
                seen.append("timeout")

        async def killed():
            try:
                await asyncio.sleep(60)
            finally:
                seen.append("killed")

        job = Job(killed)
        runners.submit(Job(times_out))
        runners.submit(job)
        await settle(lambda: job.task is not None)
        await settle(lambda: "timeout" in seen)
        job.task.cancel()
        await settle(lambda: "killed" in seen)

        async def after():
            seen.append("after")

        for _ in range(3):
            runners.submit(Job(after))
        await settle(lambda: seen.count("after") == 3)
        await runners.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("suspends", [True, False])
def test_a_cancellation_that_work_keeps_to_itself_does_not_reach_the_next(suspends):
    async def scenario():
        runners, tasks, seen = Runners(), [], []

        async def deaf():
            tasks.append(asyncio.current_task())
            if not suspends:
                asyncio.current_task().cancel()
                return
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

        async def after():
            tasks.append(asyncio.current_task())
            seen.append(asyncio.current_task().cancelling())
            await asyncio.sleep(0)
            seen.append("not cancelled")

        runners.submit(Job(deaf))
        await settle(lambda: tasks)
        if suspends:
            tasks[0].cancel()
            await settle(lambda: runners._idle)
        runners.submit(Job(after))
        await settle(lambda: not runners.active)
        assert seen == [0, "not cancelled"]
        assert len(set(tasks)) == 1
        await runners.aclose()

    asyncio.run(scenario())


def test_closing_cancels_what_runs():
    async def scenario():
        runners, seen = Runners(), []

        async def work():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        runners.submit(Job(work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await runners.aclose()
        assert seen == ["cancelled"]

    asyncio.run(scenario())
