"""Turns whatever an application's code raises into an exception that ends only what it was called for."""

import asyncio

from mesh import cancellation
from mesh.errors import ApplicationError


def as_exception(error: BaseException, what: str) -> Exception:
    """Return what the application's code has raised as an Exception.

    Args:
        error: what it has raised.
        what: what it is, "callback" or "task", for the new exception if it is needed.

    Raises:
        BaseException: the error itself, if it must end the current task.
    """
    if cancellation.must_propagate(error):
        raise error
    if isinstance(error, Exception):
        return error
    cancelled = isinstance(error, asyncio.CancelledError)
    problem = "was cancelled by its own code" if cancelled else f"raised {error!r:.200}"
    exception = ApplicationError(f"the {what} {problem}")
    exception.__cause__ = error
    return exception
