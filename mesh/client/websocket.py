"""A client's connection over WebSocket, with Tornado, which no other module of `mesh.client` imports."""

import asyncio
import base64
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketError

from mesh.client.base import ABNORMAL_CLOSURE, ConnectionEnded
from mesh.client.query_strings import query, without_secrets
from mesh.errors import ConnectError, ConnectRefused
from mesh.protocol.serializers.base import Frame

BEARER_PREFIX = "base64url.bearer.phx."
CLOSE_SECONDS = 1.0
"""How long to wait for the server's answer to our close."""
TIMED_OUT = 599
"""Tornado's status for a server that did not answer in time."""


class WebSocketConnector:
    """Opens WebSockets to one mount.

    Args:
        address: the mount's address, e.g. `ws://localhost:4000/socket`.
        headers: the headers of the request.
        ssl: the TLS context for `wss://`; by default one with the system's certificates.
        auth_token: returns the token for each connection; it is sent as a sub-protocol, as phoenix.js does.
        timeout_seconds: how long to wait for the connection to open.
        max_message_bytes: a longer message from the server closes the connection.
    """

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str],
        ssl: ssl_module.SSLContext | None,
        auth_token: Callable[[], Awaitable[str | None]],
        timeout_seconds: float,
        max_message_bytes: int,
    ) -> None:
        self._address = address
        self._shown_address = without_secrets(address)
        self._headers = dict(headers)
        self._ssl = ssl or (ssl_module.create_default_context() if address.startswith("wss:") else None)
        self._auth_token = auth_token
        self._timeout_seconds = timeout_seconds
        self._max_message_bytes = max_message_bytes

    async def connect(self, params: dict[str, Any]) -> "WebSocketConnection":
        """Open a WebSocket. Raises ConnectRefused, ConnectError."""
        token = await self._auth_token()
        protocols = None if token is None else ["phoenix", bearer(token)]
        request = HTTPRequest(
            url_of(self._address, params),
            headers=HTTPHeaders(self._headers),
            ssl_options=self._ssl,
            validate_cert=True,
            connect_timeout=self._timeout_seconds,
            request_timeout=self._timeout_seconds,
            follow_redirects=False,
            decompress_response=False,
            allow_nonstandard_methods=False,
        )
        # Not `websocket_connect`: after a cancellation it would continue to connect, out of our control.
        before = asyncio.all_tasks()
        websocket = WebSocketClientConnection(
            request, max_message_size=self._max_message_bytes, subprotocols=protocols
        )
        tasks = asyncio.all_tasks() - before
        try:
            return WebSocketConnection(await websocket.connect_future)
        except HTTPClientError as error:
            if error.code == TIMED_OUT:
                raise ConnectError(f"{self._shown_address} does not answer: {error.message}") from None
            raise ConnectRefused(error.code, _reason(error)) from None
        except (OSError, StreamClosedError, WebSocketError) as error:
            # Certificate errors are OSErrors too: ssl.SSLError.
            raise ConnectError(f"{self._shown_address} cannot be reached: {error}") from None
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            _abort(websocket)
            raise

    async def aclose(self) -> None:
        """No effect: connections share nothing."""


class WebSocketConnection:
    """One open WebSocket."""

    def __init__(self, websocket: WebSocketClientConnection) -> None:
        self._websocket = websocket
        protocol = websocket.protocol
        assert protocol is not None
        assert protocol.stream is not None
        self._stream = protocol.stream

    async def send(self, frame: Frame) -> None:
        """Send a message; return when the kernel has it. Raises ConnectionEnded."""
        try:
            await self._websocket.write_message(
                frame.data if frame.binary else frame.data.decode(), binary=frame.binary
            )
        except (WebSocketClosedError, StreamClosedError):
            raise self._ended() from None

    async def recv(self) -> Frame:
        """Return the next message. Raises ConnectionEnded."""
        message = await self._websocket.read_message()
        if message is None:
            raise self._ended()
        if isinstance(message, str):
            return Frame(message.encode(), False)
        return Frame(message, True)

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame, and wait up to a second for the answer."""
        self._websocket.close(code, reason)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while not self._stream.closed() and await self._websocket.read_message() is not None:
                    pass
        except TimeoutError:
            pass
        finally:
            self._stream.close()

    def _ended(self) -> ConnectionEnded:
        return ConnectionEnded(
            self._websocket.close_code or ABNORMAL_CLOSURE, self._websocket.close_reason or ""
        )


def bearer(token: str) -> str:
    """Return the sub-protocol that carries a token. Source: phoenix.js, btoa without padding."""
    return BEARER_PREFIX + base64.b64encode(token.encode()).decode().replace("=", "")


def url_of(address: str, params: dict[str, Any]) -> str:
    """Return the address with `/websocket` and the parameters appended; nested ones as `a[b]=c`."""
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    if not path.endswith("/websocket"):
        path += "/websocket"
    query_string = "&".join(each for each in (parts.query, query(params)) if each)
    return urlunsplit((parts.scheme, parts.netloc, path, query_string, ""))


def _reason(error: HTTPClientError) -> str:
    body = error.response.body.decode(errors="replace").strip() if error.response is not None else ""
    return body[:200] or error.message


def _abort(websocket: WebSocketClientConnection) -> None:
    """Close a cancelled connection, which may be connecting, in its handshake, or open."""
    websocket.close()
    stream = getattr(websocket, "stream", None)
    if stream is not None:
        stream.close()
