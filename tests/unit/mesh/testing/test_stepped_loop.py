"""A step runs everything that can run, and nothing that cannot."""

import asyncio
import threading
import time

import pytest

from mesh.errors import ApplicationError
from mesh.testing import stepped_loop
from mesh.testing.stepped_loop import SteppedLoop


@pytest.fixture
def loop():
    loop = SteppedLoop()
    yield loop
    loop.close()


def spawn(loop, coroutine):
    return loop.call(lambda: asyncio.get_running_loop().create_task(coroutine))


def test_a_step_takes_as_many_turns_as_there_are(loop):
    async def turns():
        for _ in range(5_000):
            await asyncio.sleep(0)
        return "done"

    task = spawn(loop, turns())
    assert not task.done()
    loop.step()
    assert task.result() == "done"


def test_a_step_waits_for_nothing_unless_it_is_told_to(loop):
    task = spawn(loop, asyncio.sleep(0.5, "slept"))
    loop.step()
    assert not task.done()
    loop.step(time.monotonic() + 10)
    assert task.result() == "slept"


def test_a_step_that_waits_in_vain_ends_in_time(loop):
    started = time.monotonic()
    loop.step(started + 0.02)
    assert 0.015 < time.monotonic() - started < 5


def test_a_step_goes_on_with_what_a_thread_brings(loop):
    brought = []

    def thread(running):
        running.call_soon_threadsafe(lambda: running.call_soon(brought.append, 1))

    helper = loop.call(
        lambda: threading.Thread(target=thread, args=(asyncio.get_running_loop(),), daemon=True)
    )
    helper.start()
    started = time.monotonic()
    loop.step(started + 20)
    helper.join()
    assert brought == [1]
    assert time.monotonic() - started < 10


def test_what_has_just_come_is_not_waited_for_again(loop):
    brought = []
    running = loop.call(asyncio.get_running_loop)
    running.call_soon_threadsafe(brought.append, 1)
    started = time.monotonic()
    loop.step(started + 20)
    assert brought == [1]
    assert time.monotonic() - started < 10


def test_a_step_without_end_is_ended(loop, monkeypatch):
    async def forever():
        while True:
            await asyncio.sleep(0)

    monkeypatch.setattr(stepped_loop, "SPIN_SECONDS", 0.02)
    spawn(loop, forever())
    with pytest.raises(AssertionError, match=r"0\.02 seconds"):
        loop.step()


def test_errors_go_through(loop):
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 / 0)


def test_close_ends_tasks_generators_and_threads():
    loop = SteppedLoop()
    ended = []

    async def generator():
        try:
            yield 1
        finally:
            ended.append("generator")

    async def waits():
        try:
            async for _ in generator():
                await asyncio.sleep(30)
        finally:
            ended.append("task")

    task = spawn(loop, waits())
    loop.step()
    loop.run(asyncio.to_thread(ended.append, "thread"))
    loop.close()
    assert task.cancelled()
    assert sorted(ended) == ["generator", "task", "thread"]
    with pytest.raises(ApplicationError, match="closed"):
        loop.step()


def test_it_is_not_for_async_code(loop):
    async def test():
        loop.run(asyncio.sleep(0))

    with pytest.raises(ApplicationError, match="plain `def`"):
        asyncio.run(test())
