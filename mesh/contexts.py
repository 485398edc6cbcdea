"""Execution contexts (`contextvars.Context`): which context variables a piece of code sees. Pure.

The application's code runs in contexts of its own: one for each channel, and one for each `connect`
(docs/channels.md, "Context variables"). All of them start as copies of the base context, which contains
what the application had set when its node started, for example at import. The node's own timers and tasks
also get such copies, because asyncio gives a timer or task the context of the code that creates it, which
may be a channel's.
"""

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, TypeVar

Result = TypeVar("Result")

_base = Context()


def set_base() -> None:
    """Make the current context the base of new contexts; nodes call this before they listen."""
    global _base
    _base = copy_context()


def fresh() -> Context:
    """Return a new context. Copying takes 50 ns, regardless of its size."""
    return _base.copy()


def call(context: Context, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in `context`; if the result is awaitable, it is awaited in the same context."""
    result = context.run(function, *arguments)
    return await_in(context, result) if isinstance(result, Awaitable) else result


async def await_in(context: Context, awaitable: Awaitable[Result]) -> Result:
    """Await in `context`, but in the current task, so that its cancellation and time-outs apply."""
    coroutine = _awaited(awaitable)
    try:
        future = context.run(coroutine.send, None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    return await resume(context, coroutine, future)


@types.coroutine
def resume(
    context: Context, coroutine: Coroutine[Any, Any, Result], future: Any
) -> Generator[Any, Any, Result]:
    """Await the rest of a coroutine that has been suspended for the first time, on `future`."""
    run = context.run
    try:
        while True:
            try:
                value = yield future
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as error:
                future = run(coroutine.throw, error)
            else:
                future = run(coroutine.send, value)
    except StopIteration as stop:
        result: Result = stop.value
        return result


async def _awaited(awaitable: Awaitable[Result]) -> Result:
    return await awaitable
