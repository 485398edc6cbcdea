"""Runs callbacks: one task for all that do not suspend, and another one for each that does.

A task per callback would cost more than most callbacks do. A runner is a long-lived task that takes work
from a queue. While work does not suspend, the runner simply continues with the next piece. When work
suspends, the runner stays with it (so that `asyncio.current_task`, time-outs and cancellation behave as
usual) and another runner takes over the queue.

Each piece of work runs in an execution context of its own, not in the runner's (mesh/contexts.py).
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextvars import Context
from time import perf_counter
from typing import Any, Protocol

from mesh import contexts
from mesh.tick_budget import TICK_BUDGET_SECONDS

CLOSE_SECONDS = 1.0
IDLE_RUNNERS = 64
"""Each suspended callback needs a runner; this many idle runners are kept."""


class Work(Protocol):
    """Something to run.

    Attributes:
        execution_context: the context in which it runs, also after it was suspended.
        task: the runner's task while the work runs; otherwise None.
    """

    execution_context: Context
    task: asyncio.Task[None] | None

    def run(self) -> Coroutine[Any, Any, None]:
        """Do some of the work; it may submit itself again for the rest. Must not raise."""


class Runners:
    """A queue of work and the tasks that run it.

    Attributes:
        active: the number of pieces of work that were submitted and are not done.
        throttled: the last argument of `throttle`.
    """

    def __init__(self) -> None:
        self.active = 0
        self.throttled = False
        self._queue: deque[Work] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # The runner that takes from the queue; self while one is being woken; None: nobody takes from it.
        self._active_runner: asyncio.Task[None] | object | None = None
        self._closing = False

    def throttle(self, throttled: bool) -> None:
        """Run only one piece of work in each turn of the event loop, or as many as time permits.

        A ChannelServer then handles one message in each run.
        """
        self.throttled = throttled

    def submit(self, work: Work) -> None:
        """Run `work` soon. Work that is submitted twice runs twice."""
        self._queue.append(work)
        self.active += 1
        if self._active_runner is None:
            self._wake()

    def owns(self, task: asyncio.Task[Any]) -> bool:
        """Return whether `task` is a runner, even an idle one."""
        return task in self._tasks

    async def aclose(self) -> None:
        """Cancel what runs and drop what waits. A callback that does not end in time is abandoned."""
        self._closing = True
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    def _wake(self) -> None:
        self._active_runner = self  # a runner is being woken
        while self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
                return
        # The submitter may be a callback; a runner outlives it and must not keep its context alive.
        context = contexts.fresh()
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._run(), name="channel runner", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended, context=context)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._active_runner is task:  # cancelled from outside: the queue must not wait for it
            self._release_queue()

    def _release_queue(self) -> None:
        self._active_runner = None
        if self._queue and not self._closing:
            self._wake()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        while True:
            self._active_runner = task
            await self._run_queue(task)
            if self._active_runner is task:
                self._active_runner = None
            if len(self._idle) >= IDLE_RUNNERS:
                return
            waiter: asyncio.Future[None] = loop.create_future()
            self._idle.append(waiter)
            await waiter

    async def _reset_cancellation(self, task: asyncio.Task[None]) -> None:
        """Reset the cancellation of work that has ended, unless the runners are closing.

        Otherwise it would cancel the next piece of work, of another channel.
        """
        while task.cancelling() and not self._closing:
            task.uncancel()
        try:
            await asyncio.sleep(0)  # raises a cancellation that the work did not wait for
        except asyncio.CancelledError:
            if self._closing:
                raise

    async def _run_queue(self, task: asyncio.Task[None]) -> None:
        end = perf_counter() + TICK_BUDGET_SECONDS
        while self._queue and self._active_runner is task:
            work = self._queue.popleft()
            work.task = task
            context, coroutine = work.execution_context, work.run()
            try:
                future = context.run(coroutine.send, None)
                self._release_queue()
                await contexts.resume(context, coroutine, future)
            except StopIteration:  # it did not suspend
                pass
            except asyncio.CancelledError:
                if self._closing:
                    raise
            work.task = None
            self.active -= 1
            if task.cancelling():
                await self._reset_cancellation(task)
            if self._active_runner is None:
                self._active_runner = task
                end = perf_counter() + TICK_BUDGET_SECONDS
            elif self.throttled or perf_counter() > end:
                await asyncio.sleep(0)
                end = perf_counter() + TICK_BUDGET_SECONDS
