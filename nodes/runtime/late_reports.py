"""Keeps users' contexts out of what asyncio does when an object is deleted, at any later time.

An error of a task that nobody awaited is reported when the task is deleted, and an abandoned asynchronous
generator is closed then. Both would happen in the context of whichever code is running at that moment: the
error would be logged, and the generator's `finally` would run, with another user's context variables.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

from mesh import contexts


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Set the running loop's hooks, unless the application has set its own exception handler."""
    if loop.get_exception_handler() is not None:
        return
    loop.set_exception_handler(_report)
    close = sys.get_asyncgen_hooks().finalizer
    if close is not None:

        def close_in_own_context(generator: AsyncGenerator[Any, Any]) -> None:
            contexts.fresh().run(close, generator)

        sys.set_asyncgen_hooks(finalizer=close_in_own_context)


def _report(loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
    """Report an error in the context of its task, where Python tells it (3.12), else in a new one."""
    source = details.get("task") or details.get("future") or details.get("handle")
    own_context = getattr(source, "get_context", contexts.fresh)
    own_context().run(loop.default_exception_handler, details)
