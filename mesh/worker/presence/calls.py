"""Awaits `fetch` and `handle_metas` of a Presence: one after the other, with a time limit."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any

from mesh import cancellation
from mesh.application_errors import as_exception

CALLBACK_SECONDS = 30.0
"""How long one callback may take. Diffs are sent in order, so all later ones wait for it."""

Steps = Generator[Awaitable[Any], Any, Any]
"""Yields awaitables and receives their results. If nothing must be awaited, it does not suspend."""


async def run_to_end(steps: Steps, waiting: Awaitable[Any]) -> None:
    """Run steps that have yielded `waiting` to their end."""
    try:
        while True:
            try:
                result = await waiting
            except BaseException as error:
                if cancellation.must_propagate(error):
                    raise
                waiting = steps.throw(error)
            else:
                waiting = steps.send(result)
    except StopIteration:
        return


async def with_time_limit(callback: Awaitable[Any]) -> Any:
    """Await a callback for at most CALLBACK_SECONDS. Raises TimeoutError if it takes longer.

    It runs in a task of its own, so that one that ignores its cancellation can be abandoned.
    """
    task = asyncio.ensure_future(_contained(callback))
    try:
        done, _ = await asyncio.wait([task], timeout=CALLBACK_SECONDS)
    finally:
        task.cancel()  # no effect on a task that is done
    if not done:
        raise TimeoutError(f"the callback took over {CALLBACK_SECONDS:g} s and was cancelled")
    return task.result()


async def _contained(callback: Awaitable[Any]) -> Any:
    """Await a callback; SystemExit in a task would end the event loop."""
    try:
        return await callback
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise as_exception(error, "callback") from None
