"""How `fetch` and `handle_metas` of a Presence are awaited: one after the other, within a bounded time."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any

from mesh import cancellation

CALLBACK_SECONDS = 30.0
"""How long one callback may take. Diffs go out in order, so all others wait for it meanwhile."""

Steps = Generator[Awaitable[Any], Any, Any]
"""Yields what must be awaited and is sent the result. If nothing must be awaited it never suspends."""


async def go_on(steps: Steps, waiting: Awaitable[Any]) -> None:
    """Run steps to their end that have yielded `waiting`."""
    try:
        while True:
            try:
                result = await waiting
            except (Exception, asyncio.CancelledError) as error:
                if cancellation.is_end(error):
                    raise
                waiting = steps.throw(error)
            else:
                waiting = steps.send(result)
    except StopIteration:
        return


async def in_time(callback: Awaitable[Any]) -> Any:
    """Await a callback for at most CALLBACK_SECONDS. Raises TimeoutError after that.

    It runs in a task of its own, so that one that does not end when it is cancelled can be left behind.
    """
    task = asyncio.ensure_future(callback)
    try:
        done, _ = await asyncio.wait([task], timeout=CALLBACK_SECONDS)
    finally:
        task.cancel()  # which has no effect on a task that is done
    if not done:
        raise TimeoutError(f"it took over {CALLBACK_SECONDS:g} s and was cancelled")
    return task.result()
