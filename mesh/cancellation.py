"""Distinguishes what an application's code raises from what must end the task that called it."""

import asyncio
import signal


def must_propagate(error: BaseException) -> bool:
    """Return whether this error must end the current task; if not, it is like any other exception.

    What the application's code awaits may be cancelled without the current task being cancelled. And its
    code may raise SystemExit, or another BaseException: as in Erlang, that ends only what it was called
    for. KeyboardInterrupt ends the process where Python raises it for SIGINT, which a node does not let it.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, GeneratorExit)
