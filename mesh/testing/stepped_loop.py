"""An event loop that a plain function runs until nothing in it can continue.

An event loop lets its selector wait exactly when no callback is ready. A selector that stops the loop
instead knows, without polling, that everything has run, however many turns it took.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from mesh.errors import ApplicationError

SPIN_SECONDS = 5.0
"""How long callbacks may keep each other running within one step."""
CLOSE_SECONDS = 1.0
"""How long tasks may take to end when the loop is closed; then they are abandoned."""

Result = TypeVar("Result")


class IdleSelector(selectors.DefaultSelector):
    """Calls `on_idle` instead of waiting, if it is set.

    Attributes:
        on_idle: None to run the loop as usual.
        wait_until: a monotonic time: if nothing can run now, wait once until then; None: do not wait.
        spin_until: a monotonic time at which `on_idle` is called even if something can still run.
        spinning: whether that has happened.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_idle: Callable[[], None] | None = None
        self.wait_until: float | None = None
        self.spin_until = 0.0
        self.spinning = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Select as usual; `timeout` is 0 while callbacks are ready."""
        if self.on_idle is None:
            return super().select(timeout)
        if timeout is not None and timeout <= 0:
            self.wait_until = None  # what runs now may be what was waited for
            if time.monotonic() > self.spin_until:
                self.spinning = True
                self.on_idle()
            return super().select(0)
        if self.wait_until is not None:
            left = max(0.0, self.wait_until - time.monotonic())
            self.wait_until = None
            return super().select(left if timeout is None else min(left, timeout))
        events = super().select(0)
        if not events:
            self.on_idle()
        return events


class SteppedLoop:
    """The event loop of one test."""

    def __init__(self) -> None:
        self._selector = IdleSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._loop.is_closed()

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks that are not done."""
        return asyncio.all_tasks(self._loop)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end.

        Raises:
            ApplicationError: if called in an event loop, or after `close`.
        """
        try:
            self._check()
        except ApplicationError:
            coroutine.close()
            raise
        return self._loop.run_until_complete(coroutine)

    def call(self, what: Callable[[], Result]) -> Result:
        """Call a function that needs a running loop. Raises as `run`."""

        async def called() -> Result:
            return what()

        return self.run(called())

    def step(self, wait_until: float | None = None) -> None:
        """Run everything that can run.

        If nothing can, and `wait_until` is given, wait until then for something that can.

        Raises:
            ApplicationError: as `run`.
            AssertionError: if callbacks keep each other running without end.
        """
        self._check()
        selector = self._selector
        selector.wait_until = wait_until
        selector.spin_until = (wait_until or time.monotonic()) + SPIN_SECONDS
        selector.spinning = False
        selector.on_idle = self._loop.stop
        try:
            self._loop.run_forever()
        finally:
            selector.on_idle = None
        if selector.spinning:
            raise AssertionError(
                f"callbacks have kept each other running for {SPIN_SECONDS:g} seconds;"
                " does one send itself a message without a delay?"
            )

    def close(self) -> None:
        """Cancel all running tasks, and close the loop."""
        try:
            self.run(self._end_tasks())
            self.run(self._loop.shutdown_asyncgens())
            self.run(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _end_tasks(self) -> None:
        tasks = self.tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    def _check(self) -> None:
        if self._loop.is_closed():
            raise ApplicationError("the channel case is closed; make another one")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise ApplicationError(
            "a channel case runs its own event loop: use it in a plain `def` test, neither in `async def`"
            " nor in a callback"
        )
