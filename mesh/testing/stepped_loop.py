"""An event loop that a plain function runs on until nothing in it can go on.

An event loop asks its selector to wait exactly when no callback is ready: a selector that stops the loop
instead knows that everything has run, however many turns it took, without polling.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from mesh.errors import ApplicationError

SPIN_SECONDS = 5.0
"""Callbacks may keep each other running so long within one step."""
CLOSE_SECONDS = 1.0
"""Tasks may take so long to end when the loop closes; then they are left behind."""

Result = TypeVar("Result")


class IdleSelector(selectors.DefaultSelector):
    """Calls `on_idle` instead of waiting, if it is set.

    Attributes:
        on_idle: None lets the loop run as any other.
        wait_until: of the monotonic clock: wait once until then, if nothing can run now; None: do not.
        spin_until: of the monotonic clock: `on_idle` is called then though something could still run.
        spun: whether it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_idle: Callable[[], None] | None = None
        self.wait_until: float | None = None
        self.spin_until = 0.0
        self.spun = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As any selector; `timeout` is 0 while callbacks are ready."""
        if self.on_idle is None:
            return super().select(timeout)
        if timeout is not None and timeout <= 0:
            self.wait_until = None  # what runs now may be what was waited for
            if time.monotonic() > self.spin_until:
                self.spun = True
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
        """Those not done."""
        return asyncio.all_tasks(self._loop)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end.

        Raises:
            ApplicationError: in an event loop, or after `close`.
        """
        try:
            self._check()
        except ApplicationError:
            coroutine.close()
            raise
        return self._loop.run_until_complete(coroutine)

    def call(self, what: Callable[[], Result]) -> Result:
        """Call something that needs a running loop. Raises as `run`."""

        async def called() -> Result:
            return what()

        return self.run(called())

    def step(self, wait_until: float | None = None) -> None:
        """Run all that can run.

        If nothing can, and `wait_until` is given, wait until then at most for something that can.

        Raises:
            ApplicationError: as `run`.
            AssertionError: if callbacks keep each other running without end.
        """
        self._check()
        selector = self._selector
        selector.wait_until = wait_until
        selector.spin_until = (wait_until or time.monotonic()) + SPIN_SECONDS
        selector.spun = False
        selector.on_idle = self._loop.stop
        try:
            self._loop.run_forever()
        finally:
            selector.on_idle = None
        if selector.spun:
            raise AssertionError(
                f"callbacks have kept each other running for {SPIN_SECONDS:g} seconds;"
                " does one send itself a message without a delay?"
            )

    def close(self) -> None:
        """Cancel what still runs, and close."""
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
