"""Gives each HTTP request an execution context of its own (mesh/contexts.py).

Tornado makes a handler, and feeds it a streamed body, in the task that reads the connection: what an
application's handler sets there would be seen by all later requests of the connection, and behind a proxy
those are other users'.
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
    """A Tornado application each of whose requests has its own."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """As Tornado's, in the request's context."""
        context = contexts.fresh()
        delegate = context.run(super().find_handler, request, **kwargs)
        return _InContext(context, cast(HTTPMessageDelegate, delegate))


class _InContext(HTTPMessageDelegate):
    """One request on its way to its handler."""

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
