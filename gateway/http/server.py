"""The HTTP server of a gateway: Tornado's, with a response for each exceeded limit and separate time-outs.

Tornado closes the connection of a request that is too long or too slow, and has a single time-out for
requests and for idle connections. So this server reads and checks the head of each request first
(gateway/http/head.py), and then passes it to Tornado. After the response, what the client still sends is
read and dropped for a while, because closing a connection with unread data resets it, and the client could
lose the response (RFC 9112 §9.6).
"""

import asyncio
import socket
import ssl
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from tornado import iostream
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.httpserver import HTTPServer, _HTTPRequestContext
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.web import Application

from mesh.errors import RemoteProtocolError
from mesh.gateway.http.chunks import ChunkedBody
from mesh.gateway.http.connection_options import asks_to_close
from mesh.gateway.http.deadline import Deadline
from mesh.gateway.http.head import HeadError, HeadReader
from mesh.gateway.http.stream_buffers import readable, unread
from mesh.settings import GatewaySettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

READ_BYTES = 65_536
LINGER_SECONDS = 5.0
"""How long data from a refused client is read and dropped, so that the client receives the response."""
LINGER_BYTES = 16_000_000
NO_LIMIT = 2**62
"""Bodies are limited in gateway/http/bodies.py instead, whose responses state the reason."""
TOO_SLOW = HeadError(408, "the request took too long (gateway.handshake_timeout_seconds)")


def has_body(headers: HTTPHeaders) -> bool:
    """Return whether a request announces a body."""
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0").strip("0") != ""


def reason_phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    return HTTPStatus(status).phrase


def error_response(error: HeadError, head: bool = False) -> bytes:
    """Return the response to a request that is not read further; for a HEAD request, without content."""
    body = error.sentence.encode()
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Date": formatdate(usegmt=True),
        "Connection": "close",
        **error.headers,
    }
    if error.status != 204:
        headers["Content-Length"] = str(len(body))
    lines = [f"HTTP/1.1 {error.status} {reason_phrase(error.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if head else body)


class GatewayServer(HTTPServer):
    """Serves an application. Made as `GatewayServer(application, settings=…, ssl_options=…)`."""

    def initialize(  # type: ignore[override]
        self, application: Application, settings: GatewaySettings, ssl_options: ssl.SSLContext | None = None
    ) -> None:
        """Tornado's constructor calls this."""
        self._settings = settings
        self._connections: set[ServerConnection]  # type: ignore[assignment]
        super().initialize(
            application, ssl_options=ssl_options, max_body_size=NO_LIMIT, max_buffer_size=4 * READ_BYTES
        )

    def handle_stream(self, stream: IOStream, address: Any, answered: bool = False) -> None:
        """Serve a connection. If it has `answered` a request before, it may be idle for longer."""
        context = _HTTPRequestContext(stream, address, self.protocol, self.trusted_downstream)
        connection = ServerConnection(stream, self.conn_params, context, self._settings, answered)
        self._connections.add(connection)
        connection.start_serving(self)

    def stop(self) -> None:
        """Make each response the last one on its connection, with `Connection: close` (RFC 9112 §9.6)."""
        super().stop()
        self.conn_params.no_keep_alive = True

    async def finish(self, timeout_seconds: float) -> None:
        """After `stop`, answer the requests that have arrived, and close all connections.

        Idle connections are closed at once, the others once they are answered or after the time-out.
        """
        for connection in list(self._connections):
            connection.close_if_idle()
        await self._wait_until_served(timeout_seconds)
        for connection in list(self._connections):
            connection.stream.close()
        await self._wait_until_served(timeout_seconds)

    async def _wait_until_served(self, timeout_seconds: float) -> None:
        serving = [connection.serving for connection in self._connections]
        if serving:
            await asyncio.wait(serving, timeout=timeout_seconds)


class ServerConnection(HTTP1ServerConnection):
    """One connection, which serves one request after another."""

    def __init__(
        self,
        stream: IOStream,
        params: HTTP1ConnectionParameters,
        context: object,
        settings: GatewaySettings,
        answered: bool,
    ) -> None:
        super().__init__(stream, params, context)
        self._settings = settings
        self._answered = answered
        self._request: Connection | None = None

    @property
    def serving(self) -> "asyncio.Future[None]":
        """Done when the connection has ended."""
        assert self._serving_future is not None
        return self._serving_future

    def close_if_idle(self) -> None:
        """Close the connection unless part of a request has arrived, whether it has been read or not."""
        if self._request is not None and self.stream.reading() and not self._request.started:
            self._close_if_silent()

    def _close_if_silent(self) -> None:
        if not readable(self.stream):
            self.stream.close()

    async def _server_request_loop(self, delegate: HTTPServerConnectionDelegate) -> None:
        try:
            while await self._serve_one(delegate):
                self._answered = True
                await asyncio.sleep(0)
        except (StreamClosedError, iostream.UnsatisfiableReadError, asyncio.CancelledError):
            pass
        except Exception as error:
            log.error("an HTTP connection failed", exc_info=error)
            self.stream.close()
        finally:
            delegate.on_close(self)

    async def _serve_one(self, delegate: HTTPServerConnectionDelegate) -> bool:
        settings = self._settings
        if self.params.no_keep_alive:
            self._close_if_silent()  # the read below would begin after `close_if_idle`
        idle = settings.keepalive_seconds if self._answered else settings.handshake_timeout_seconds
        self._request = connection = Connection(self.stream, self.params, self.context, settings)
        if not await connection.read_head(idle):
            return False
        return await connection.read_response(delegate.start_request(self, connection))


class Connection(HTTP1Connection):
    """One request on a connection, and its response."""

    def __init__(
        self,
        stream: IOStream,
        params: HTTP1ConnectionParameters,
        context: object,
        settings: GatewaySettings,
    ) -> None:
        super().__init__(stream, False, params, context)
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._head = HeadReader(settings.max_head_bytes)
        self._timer: asyncio.TimerHandle | Deadline | None = None
        self._lingering = False
        self._dropped = 0

    @property
    def answered(self) -> "asyncio.Future[None]":
        """Done when the response is written, or the connection has ended."""
        return self._finish_future

    @property
    def started(self) -> bool:
        """Whether some of the request has been read."""
        return self._head.started

    # The head

    async def read_head(self, idle_seconds: float) -> bool:
        """Wait for a request and check its head, which Tornado then parses; return False if none came."""
        reader = self._head
        seconds = self._settings.handshake_timeout_seconds
        try:
            async with asyncio.timeout(None) as limit:
                deadline = Deadline(idle_seconds, lambda: limit.reschedule(self._loop.time()))
                try:
                    while True:
                        started = reader.started
                        found = reader.feed(await self.stream.read_bytes(READ_BYTES, partial=True))
                        if found is not None:
                            unread(self.stream, found[0] + found[1])
                            return True
                        if reader.started and not started:
                            deadline.restart(seconds)
                finally:
                    deadline.cancel()
        except TimeoutError:
            if reader.started:
                self._count_refused(TOO_SLOW)
                self.stream.write(error_response(TOO_SLOW, reader.asks_for_head))
            self.stream.close()
        except HeadError as error:
            self._count_refused(error)
            await self._answer_and_close(error_response(error, reader.asks_for_head))
        return False

    def _count_refused(self, error: HeadError) -> None:
        if error.status >= 400:
            counters.count("http_requests_refused")
            log.info("request refused", status=error.status, reason=error.sentence)

    async def _answer_and_close(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self.stream.write(data)
                self._shut_down()
                dropped = 0
                while dropped < LINGER_BYTES:
                    dropped += len(await self.stream.read_bytes(READ_BYTES, partial=True))
        except (TimeoutError, StreamClosedError):
            pass
        self.stream.close()

    def _shut_down(self) -> None:
        """Shut down the sending side, which is not possible with TLS."""
        if not isinstance(self.stream, SSLIOStream) and not self.stream.closed():
            try:
                self.stream.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.stream.close()

    # The body

    async def read_response(self, delegate: HTTPMessageDelegate) -> bool:
        """Serve one request until its response is written; return whether another may follow."""
        self._timer = Deadline(self._settings.handshake_timeout_seconds, self._too_slow)
        try:
            keep_alive = await super().read_response(delegate)
        finally:
            self._timer.cancel()
        if self._lingering:
            self.close()
            return False
        return keep_alive

    def _too_slow(self) -> None:
        if self._read_finished or self._lingering or self.stream is None or self.stream.closed():
            return
        self._count_refused(TOO_SLOW)
        if self._response_start_line is None:
            self.stream.write(error_response(TOO_SLOW))
        self.close()

    async def _read_chunked_body(self, delegate: HTTPMessageDelegate) -> None:
        body, size = ChunkedBody(), 0
        rest: bytes | None = None
        while rest is None:
            data = await self.stream.read_bytes(READ_BYTES, partial=True)
            try:
                content, rest = body.feed(data)
            except RemoteProtocolError as error:
                raise HTTPInputError(str(error)) from None
            size += len(content)
            if size > self._max_body_size:
                raise HTTPInputError("chunked body too large")
            if content:
                await self._deliver_body(delegate, content)
            await asyncio.sleep(0)  # data that is already buffered must not delay other connections
        unread(self.stream, rest)

    async def _deliver_body(self, delegate: HTTPMessageDelegate, data: bytes) -> None:
        if not self._write_finished:
            return await super()._deliver_body(delegate, data)
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self.close()

    # The answer

    def _can_keep_alive(self, start_line: RequestStartLine, headers: HTTPHeaders) -> bool:
        """As in Tornado, which overlooks `close` among other options."""
        return super()._can_keep_alive(start_line, headers) and not asks_to_close(headers)

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Any:
        """As in Tornado, with `Connection: close` if the body is unread or the server is stopping."""
        request = self._request_headers
        if self.params.no_keep_alive:
            self._disconnect_on_finish = True
        if not self._read_finished and request is not None and has_body(request):
            self._disconnect_on_finish = True
        return super().write_headers(start_line, headers, chunk)

    def _finish_request(self, future: "asyncio.Future[None] | None") -> None:
        """Handle the end of the response: an unread body is dropped for a while before the close."""
        unread = self._disconnect_on_finish and not self._read_finished
        if not unread or self.stream is None or self.stream.closed():
            super()._finish_request(future)
            return
        self._clear_callbacks()
        self._lingering = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_SECONDS, self.close)
        self._shut_down()
        if not self._finish_future.done():
            self._finish_future.set_result(None)
