"""The application's background tasks on one worker: started when it is ready, cancelled when it stops.

A task that raises is restarted, after a delay that grows with each failure; a task that returns is
finished.
"""

import asyncio
from collections.abc import Sequence

from mesh import contexts
from mesh.app.endpoint import Background
from mesh.application_errors import as_exception
from mesh.errors import ApplicationError
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A task that ran for at least this long before it raised is restarted after the shortest delay."""


class BackgroundTasks:
    """All background tasks of a worker.

    Args:
        functions: the coroutine functions, which take no arguments.
        kill_seconds: how long a task may take to end after it is cancelled.
    """

    def __init__(self, functions: Sequence[Background], kill_seconds: float) -> None:
        self._functions = functions
        self._kill_seconds = kill_seconds
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    def start(self) -> None:
        """Start all tasks. Has no effect after `aclose`."""
        if not self._closing:
            loop = asyncio.get_running_loop()
            self._tasks = [
                loop.create_task(
                    self._keep_running(each), name=f"background {_name(each)}", context=contexts.fresh()
                )
                for each in self._functions
            ]

    async def aclose(self) -> None:
        """Cancel all tasks. A task that does not end in time is abandoned and logged."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, alive = await asyncio.wait(self._tasks, timeout=self._kill_seconds)
            for task in alive:
                log.error("background task did not end in time", task=task.get_name())

    async def _keep_running(self, function: Background) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while not self._closing:
            started = loop.time()
            context = contexts.fresh()  # without what a run that failed has set
            try:
                await contexts.await_in(context, function())
            except asyncio.CancelledError:
                if self._closing:
                    raise
                error: Exception = ApplicationError("the task was cancelled by its own code")
            except BaseException as raised:
                error = as_exception(raised, "task")
            else:
                log.debug("background task is done", task=_name(function))
                return
            self._uncancel()
            if loop.time() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            counters.count("background_tasks_failed")
            context.run(
                log.error,
                "background task failed",
                task=_name(function),
                again_in_seconds=pause,
                exc_info=error,
            )
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)

    def _uncancel(self) -> None:
        """Reset a cancellation by the task's own code, which would cancel the next run as well."""
        task = asyncio.current_task()
        while task is not None and task.cancelling() and not self._closing:
            task.uncancel()


def _name(function: Background) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
