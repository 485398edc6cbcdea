"""Execution contexts (`contextvars.Context`): which context variables a piece of code sees. Pure.

The application's code runs in contexts of its own: one for each channel, one for each `connect`
(docs/channels.md, "Context variables"). All of them start as copies of the base, which holds what the
application had set when its node started, e.g. at import. The node's own timers and tasks get such copies
too: asyncio gives a timer or a task the context of the code that makes it, which may be a channel's.
"""

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, TypeVar

Result = TypeVar("Result")

_base = Context()


def take_base() -> None:
    """Let contexts made from now on start with what is set here; nodes call it before they listen."""
    global _base
    _base = copy_context()


def fresh() -> Context:
    """A new context. Copying one costs the same, 50 ns, whatever it holds."""
    return _base.copy()


def call(context: Context, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call in `context`; if the result must be awaited, that happens in the same context."""
    result = context.run(function, *arguments)
    return within(context, result) if isinstance(result, Awaitable) else result


async def within(context: Context, awaitable: Awaitable[Result]) -> Result:
    """Await in `context`, but in the current task: its cancellation and time-outs hold."""
    coroutine = _awaited(awaitable)
    try:
        future = context.run(coroutine.send, None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    return await go_on(context, coroutine, future)


@types.coroutine
def go_on(
    context: Context, coroutine: Coroutine[Any, Any, Result], future: Any
) -> Generator[Any, Any, Result]:
    """Await the rest of a coroutine that has just suspended for the first time, on `future`."""
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
