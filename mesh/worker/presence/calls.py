"""How `fetch` and `handle_metas` of a Presence are awaited: one after the other, with a bound."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any

from mesh import cancellation

CALLBACK_SECONDS = 30.0
"""Diffs go out in order, so that all others wait for this one meanwhile."""

Steps = Generator[Awaitable[Any], Any, Any]
"""Yields what must be awaited, and is sent the result; without anything to await it runs through."""


async def go_on(steps: Steps, waiting: Awaitable[Any]) -> None:
    """Drive steps on from their first wait."""
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
    """Await a callback for CALLBACK_SECONDS at the most. Raises TimeoutError after that.

    It has a task of its own: one that does not end when it is cancelled is left behind.
    """
    task = asyncio.ensure_future(callback)
    try:
        done, _ = await asyncio.wait([task], timeout=CALLBACK_SECONDS)
    finally:
        task.cancel()  # which changes nothing if it is done
    if not done:
        raise TimeoutError(f"it took over {CALLBACK_SECONDS:g} s and was cancelled")
    return task.result()
