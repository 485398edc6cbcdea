"""Request bodies: read only where a route accepts one, with a limit for each and for all together.

A body that is too large by its Content-Length is refused before it is read, so no `100 Continue` is sent
for it; what the client sends anyway is dropped (gateway/http/server.py). Bytes count until their request is
answered.
"""

import asyncio
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, ResponseStartLine
from tornado.web import Application, RequestHandler

from mesh.gateway.http.head import HeadError
from mesh.gateway.http.server import Connection, reason_phrase
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

TOO_MANY_BODIES = "too many requests are being read; try again soon (gateway.max_bodies_bytes)"


class BodyError(HeadError):
    """A body is refused, with 413 if it is too large itself, 503 if all bodies together are."""


class Bodies:
    """All bodies that a gateway holds.

    Args:
        max_bytes: the limit of one body.
        max_total_bytes: the limit of all bodies together.

    Attributes:
        bytes: the bytes held now.
    """

    def __init__(self, max_bytes: int, max_total_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.max_total_bytes = max_total_bytes
        self.bytes = 0

    def begin(self, headers: HTTPHeaders, limit: int | None = None, setting: str = "") -> "Body":
        """Begin to read a body, with its own limit or the default one. Raises BodyError."""
        body = Body(self, limit or self.max_bytes, setting or "gateway.max_body_bytes")
        length = headers.get("Content-Length", "")
        body.check(int(length) if length.isascii() and length.isdecimal() else 0)
        return body


class Body:
    """One body, while it is read and until its request is answered."""

    __slots__ = ("_bodies", "_data", "_limit", "_setting", "_size")

    def __init__(self, bodies: Bodies, limit: int, setting: str) -> None:
        self._bodies = bodies
        self._limit = limit
        self._setting = setting
        self._data = bytearray()
        self._size = 0

    def check(self, more: int) -> None:
        """Raise BodyError if `more` further bytes would exceed a limit."""
        size = self._size + more
        if size > self._limit:
            counters.count("http_bodies_refused")
            raise BodyError(413, f"a body of {size} bytes or more; at most {self._limit} ({self._setting})")
        if self._bodies.bytes + more > self._bodies.max_total_bytes:
            counters.count("http_bodies_refused")
            log.warning("body refused", reason=TOO_MANY_BODIES, held=self._bodies.bytes)
            raise BodyError(503, TOO_MANY_BODIES, {"Retry-After": "1"})

    def add(self, chunk: bytes) -> None:
        """Add a chunk. Raises BodyError."""
        self.check(len(chunk))
        self._data += chunk
        self._size += len(chunk)
        self._bodies.bytes += len(chunk)

    def take(self) -> bytes:
        """Return the whole body; its bytes count until `release`."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def release(self) -> None:
        """Stop counting its bytes."""
        self._bodies.bytes -= self._size
        self._size = 0
        self._data = bytearray()


def takes_body(handler: type[RequestHandler], method: str) -> bool:
    """Return whether a handler accepts a body with this method.

    Our own handlers list such methods in `BODIES`; an application's handler accepts a body with every
    method that it implements.
    """
    ours: tuple[str, ...] | None = getattr(handler, "BODIES", None)
    return handles(handler, method) if ours is None else method in ours


def handles(handler: type[RequestHandler], method: str) -> bool:
    """Return whether a handler implements a method."""
    own = getattr(handler, method.lower(), None) if method in RequestHandler.SUPPORTED_METHODS else None
    return own is not None and own is not getattr(RequestHandler, method.lower())


def refuse(connection: Connection, error: HeadError) -> "asyncio.Future[None]":
    """Answer a request whose body is not read; the future is done when the answer is written."""
    text = error.sentence.encode()
    headers = HTTPHeaders({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))})
    for name, value in error.headers.items():
        headers[name] = value
    connection.write_headers(
        ResponseStartLine("HTTP/1.1", error.status, reason_phrase(error.status)), headers, text
    )
    connection.finish()
    return connection.answered


class UnreadBodyDelegate(HTTPMessageDelegate):
    """A request whose route accepts no body: it is answered as if it had none."""

    def __init__(self, inner: HTTPMessageDelegate, connection: Connection, error: HeadError | None) -> None:
        self._inner = inner
        self._connection = connection
        self._error = error

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> "asyncio.Future[None]":
        """Let the route answer 404 or 405; where it would answer 200, answer with `error` instead."""
        if self._error is not None:
            return refuse(self._connection, self._error)
        self._inner.headers_received(start_line, headers)
        self._inner.finish()
        return self._connection.answered

    def data_received(self, chunk: bytes) -> None:
        """Drop a chunk of the body."""

    def finish(self) -> None:
        """The body has ended; the request is already answered."""

    def on_connection_close(self) -> None:
        """The client is gone; there is nothing to release."""


class ReadBodyDelegate(HTTPMessageDelegate):
    """A request for one of the application's handlers, which receives the whole body."""

    def __init__(
        self,
        application: Application,
        bodies: Bodies,
        request: HTTPServerRequest,
        handler: type[RequestHandler],
        arguments: dict[str, Any],
        path_args: list[bytes],
        path_kwargs: dict[str, bytes],
    ) -> None:
        assert isinstance(request.connection, Connection)
        self._application = application
        self._bodies = bodies
        self._request = request
        self._connection = request.connection
        self._handler = handler
        self._arguments = arguments
        self._path = (path_args, path_kwargs)
        self._body: Body | None = None

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> "asyncio.Future[None] | None":
        """Refuse a body that is too large by its Content-Length, before any of it is read."""
        del start_line
        try:
            self._body = self._bodies.begin(headers)
        except BodyError as error:
            return refuse(self._connection, error)
        return None

    def data_received(self, chunk: bytes) -> "asyncio.Future[None] | None":
        """Add a chunk of the body."""
        if self._body is None:
            return None
        try:
            self._body.add(chunk)
        except BodyError as error:
            self.on_connection_close()
            return refuse(self._connection, error)
        return None

    def finish(self) -> None:
        """The body is complete: run the handler as Tornado's delegate does, then release the body."""
        body, request, application = self._body, self._request, self._application
        assert body is not None
        request.body = body.take()
        try:
            handler = self._handler(application, request, **self._arguments)
        except BaseException:
            body.release()
            raise
        transforms = [each(request) for each in application.transforms]
        args, kwargs = self._path
        task = asyncio.ensure_future(handler._execute(transforms, *args, **kwargs))
        self._body = None

        def done(task: "asyncio.Future[None]") -> None:
            body.release()
            if not task.cancelled():
                task.result()

        task.add_done_callback(done)

    def on_connection_close(self) -> None:
        """The client disconnected before the body was complete."""
        if self._body is not None:
            self._body.release()
            self._body = None
