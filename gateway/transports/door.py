"""Where clients knock: accepts connections, and lets those that want a WebSocket in by a short way.

A connection's first bytes are looked at without taking them from the kernel. If they are a regular request
for a WebSocket, it is answered here; whatever else it is, Tornado's server gets the untouched connection.
Own code because of the price: Tornado's request machinery was most of what connecting and joining cost
(docs/performance.md). With TLS there is nothing to look at, and Tornado gets every connection.
"""

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from tornado.iostream import IOStream, SSLIOStream
from tornado.netutil import ssl_wrap_socket

from gateway.http.forwarded import Peer, TrustedProxies
from gateway.http.proxy_protocol import plain_peer
from gateway.http.server import GatewayServer
from gateway.transports import upgrade, upgrade_request
from gateway.transports.admission import Admitted, RefusedError
from gateway.transports.connection import WebSockets
from gateway.transports.handshake import Handshake
from gateway.transports.proxied import ProxyHeaders
from gateway.transports.upgrade_request import UpgradeRequest
from gateway.transports.websocket import begin
from mesh.mount import path_pattern
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.door")

ACCEPTS_PER_TURN = 16
"""Connections before the event loop gets a turn."""
LAST_TURNS = 256
"""When it closes: 4,096 connections, as many as Linux keeps for a listener (net.core.somaxconn)."""
FULL_SECONDS = 0.5
"""Without a free descriptor nothing can be accepted; then we wait for so long."""
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Door:
    """Accepts the connections of a gateway.

    Args:
        server: gets everything that is no regular request for a WebSocket.
        websockets: take in those who may.
        handshakes: of the mounts that take WebSockets, in order.
        timeout_seconds: after which a connection that says nothing is closed.
        tls: what every connection begins with, if anything.
        trusted: who may send PROXY headers.
    """

    def __init__(
        self,
        server: GatewayServer,
        websockets: WebSockets,
        handshakes: Sequence[Handshake],
        timeout_seconds: float,
        tls: ssl.SSLContext | None = None,
        trusted: TrustedProxies | None = None,
    ) -> None:
        self._tls = tls
        self._begin = self._look if tls is None else self._to_tls
        self._headers = ProxyHeaders(trusted or TrustedProxies([]), timeout_seconds, self._begin)
        self._server = server
        self._websockets = websockets
        self._ways = [
            (re.compile(path_pattern(each.mount.path) + "/websocket"), each) for each in handshakes
        ]
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[socket.socket, Callable[[socket.socket, Peer | None], None]] = {}
        self._silent: dict[socket.socket, tuple[float, Peer | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def add_sockets(self, listeners: Sequence[socket.socket], proxied: bool = False) -> None:
        """Accept from these from now on; `proxied`: connections begin with a PROXY header."""
        for listener in listeners:
            self._listeners[listener] = self._headers.expect if proxied else self._begin
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Accept no more. Requests that have come are let in; silent connections are closed."""
        self._closed = True
        for listener in self._listeners:
            for _ in range(LAST_TURNS):
                if not self._accept(listener):
                    break
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()
        self._headers.close()
        for sock, (_, peer) in list(self._silent.items()):
            self._readable(sock, peer)
        for task in self._tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    # Accepting

    def _accept(self, listener: socket.socket) -> bool:
        """Returns whether there may be more."""
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return False
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._full(listener, error)
                return False
            sock.setblocking(False)
            self._listeners[listener](sock, plain_peer(peer))
        return True

    def _full(self, listener: socket.socket, error: OSError) -> None:
        counters.count("accepts_failed")
        log.error("no connection can be accepted for a moment", reason=error.strerror)
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(FULL_SECONDS, self._accept_again, listener)

    def _accept_again(self, listener: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    # The first bytes

    def _look(self, sock: socket.socket, peer: Peer | None, deadline: float | None = None) -> None:
        """Most requests are there already when their connection is accepted."""
        try:
            head = sock.recv(upgrade_request.MAX_HEAD_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._wait(sock, peer, deadline or self._loop.time() + self._timeout_seconds)
        except OSError:
            sock.close()
        else:
            self._enter(sock, peer, head)

    def _wait(self, sock: socket.socket, peer: Peer | None, deadline: float) -> None:
        now = self._loop.time()
        if self._closed or deadline <= now:
            sock.close()
            return
        self._silent[sock] = (deadline, peer)
        self._loop.add_reader(sock.fileno(), self._readable, sock, peer)
        if self._timer is None:
            self._timer = self._loop.call_later(deadline - now, self._expire)

    def _readable(self, sock: socket.socket, peer: Peer | None) -> None:
        self._loop.remove_reader(sock.fileno())
        deadline, _ = self._silent.pop(sock)
        self._look(sock, peer, deadline)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for sock, (deadline, peer) in list(self._silent.items()):  # in the order of their deadlines
            if deadline > now:
                self._timer = self._loop.call_later(deadline - now, self._expire)
                return
            self._readable(sock, peer)  # it may have spoken while this process stood still

    def _enter(self, sock: socket.socket, peer: Peer | None, head: bytes) -> None:
        if not head:
            sock.close()
            return
        short = len(head) <= self._websockets.settings.max_head_bytes
        request = upgrade_request.parse(head) if short else None
        way = self._way(request) if request is not None else None
        if request is None or way is None or upgrade.problem(request.headers) is not None:
            self._to_tornado(sock, peer)
            return
        sock.recv(len(head))
        try:
            answer = way.ask(request, peer)
        except Exception as error:
            self._refuse(sock, peer, error)
            return
        if isinstance(answer, Awaitable) or answer.socket_id is not None:
            self._later(self._admit(sock, peer, request, way, answer))
        else:
            self._welcome(sock, request, way, answer)

    def _way(self, request: UpgradeRequest) -> Handshake | None:
        for pattern, handshake in self._ways:
            if pattern.fullmatch(request.path) is not None:
                return handshake
        return None

    def _to_tls(self, sock: socket.socket, peer: Peer | None) -> None:
        assert self._tls is not None
        server = self._server
        try:
            wrapped = ssl_wrap_socket(sock, self._tls, server_side=True, do_handshake_on_connect=False)
        except OSError:  # the client has gone meanwhile
            sock.close()
            return
        stream = SSLIOStream(
            wrapped,
            ssl_options=self._tls,
            max_buffer_size=server.max_buffer_size,
            read_chunk_size=server.read_chunk_size,
        )
        server.handle_stream(stream, peer)

    def _to_tornado(self, sock: socket.socket, peer: Peer | None, answered: bool = False) -> None:
        server = self._server
        stream = IOStream(
            sock, max_buffer_size=server.max_buffer_size, read_chunk_size=server.read_chunk_size
        )
        server.handle_stream(stream, peer, answered)

    # The answer

    def _later(self, admission: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(admission, name="handshake")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(
        self,
        sock: socket.socket,
        peer: Peer | None,
        request: UpgradeRequest,
        handshake: Handshake,
        answer: Admitted | Awaitable[Admitted],
    ) -> None:
        """The application takes its time, or the client's id has to be subscribed first."""
        try:
            admitted = await answer if isinstance(answer, Awaitable) else answer
            if admitted.socket_id is not None:
                await self._websockets.hub.socket_ids.subscribe(admitted.socket_id)
        except Exception as error:
            self._refuse(sock, peer, error)
        except asyncio.CancelledError:
            sock.close()
            raise
        else:
            self._welcome(sock, request, handshake, admitted)

    def _welcome(
        self, sock: socket.socket, request: UpgradeRequest, handshake: Handshake, admitted: Admitted
    ) -> None:
        answer = upgrade.response(request.headers, admitted.subprotocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.send(answer)  # nothing was sent before: there is room for it
        except OSError:  # the client has gone meanwhile
            sock.close()
            if admitted.socket_id is not None:
                self._websockets.hub.socket_ids.unsubscribe(admitted.socket_id)
            return
        begin(self._websockets, handshake.mount, admitted, sock, b"")

    def _refuse(self, sock: socket.socket, peer: Peer | None, error: Exception) -> None:
        """Answer as Tornado's handler does; the connection may go on with other requests."""
        counters.count("connections_refused")
        if isinstance(error, RefusedError):
            status, sentence = error.status, error.sentence
        else:
            status, sentence = 500, ""
            log.error("connect raised", exc_info=error)
        body = sentence.encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Date: {formatdate(usegmt=True)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            sock.send(head.encode() + body)
        except OSError:
            sock.close()
        else:
            self._to_tornado(sock, peer, answered=True)
