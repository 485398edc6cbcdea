"""Gives each HTTP request its own execution context (mesh/contexts.py).

Tornado creates handlers, and feeds them streamed bodies, in the task that reads the connection. What an
application's handler sets there would be visible to all later requests on the connection, which behind a
proxy are other users'.
"""

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
from tornado.web import Application

from mesh import contexts


class OwnContexts(Application):
    """A Tornado application in which each request has its own context."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Find the handler as Tornado does, in a new context for the request."""
        context = contexts.fresh()
        delegate = context.run(super().find_handler, request, **kwargs)
        return _InContext(context, cast(HTTPMessageDelegate, delegate))


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
