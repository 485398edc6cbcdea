"""Distinguishes a cancellation of the current task from one of something that it awaits."""

import asyncio


def must_propagate(error: BaseException) -> bool:
    """Return whether this error cancels the current task; if not, it is like any other exception.

    What the application's code awaits may be cancelled without the current task being cancelled.
    """
    if not isinstance(error, asyncio.CancelledError):
        return not isinstance(error, Exception)
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
