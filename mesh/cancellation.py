"""Whether a cancellation is meant for us."""

import asyncio


def is_end(error: BaseException) -> bool:
    """Whether the current task is being cancelled by this error; else it is one like any other.

    Something that the application's code awaits may be cancelled, and nobody wants an end of our task.
    """
    if not isinstance(error, asyncio.CancelledError):
        return not isinstance(error, Exception)
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
