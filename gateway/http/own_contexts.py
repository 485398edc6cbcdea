"""Gives each HTTP request its own execution context (mesh/contexts.py).

Tornado creates handlers, and feeds them streamed bodies, in the task that reads the connection. What an
application's handler sets there would be visible to all later requests on the connection, which behind a
proxy are other users'. And it lets what is not an Exception end the process (`_contained`).
"""

import functools
from collections.abc import Awaitable
from contextvars import Context
from typing import Any, cast

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application, RequestHandler, _HandlerDelegate

from mesh import contexts
from mesh.application_errors import as_exception


class OwnContexts(Application):
    """A Tornado application in which each request has its own context."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Find the handler as Tornado does, in a new context for the request."""
        context = contexts.fresh()
        delegate = context.run(super().find_handler, request, **kwargs)
        return _InContext(context, cast(HTTPMessageDelegate, delegate))

    def get_handler_delegate(
        self, request: HTTPServerRequest, target_class: type[RequestHandler], *arguments: Any, **more: Any
    ) -> _HandlerDelegate:
        """Create the request's delegate as Tornado does; an application's handler is contained."""
        ours = target_class.__module__.startswith(("mesh.", "tornado."))
        handler = target_class if ours else _contained(target_class)  # type: ignore[arg-type]
        return super().get_handler_delegate(request, handler, *arguments, **more)


@functools.cache
def _contained(handler: type[RequestHandler]) -> type[RequestHandler]:
    """Return the handler as a class in which SystemExit answers one request with 500, and no more.

    Tornado runs a handler in a task of its own, whose SystemExit would end the event loop.
    """

    class Contained(handler):  # type: ignore[misc, valid-type]
        async def _execute(self, *arguments: Any, **more: Any) -> None:
            try:
                await super()._execute(*arguments, **more)
            except BaseException as error:
                self._handle_request_exception(as_exception(error, "handler"))

    Contained.__name__, Contained.__qualname__ = handler.__name__, handler.__qualname__
    Contained.__module__ = handler.__module__
    return Contained


class _InContext(HTTPMessageDelegate):
    """Passes one request to its handler, in the request's context."""

    def __init__(self, context: Context, delegate: HTTPMessageDelegate) -> None:
        self._run = context.run
        self._delegate = delegate

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self._run(self._delegate.headers_received, start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._run(self._delegate.data_received, chunk)

    def finish(self) -> None:
        self._run(self._delegate.finish)

    def on_connection_close(self) -> None:
        self._run(self._delegate.on_connection_close)
