"""Accepts the connections to a gateway's HTTP port, and passes each to the reader of its first request.

A connection's first bytes are examined without removing them from the kernel's buffer. A transport may have
a shortcut for requests that it answers itself (gateway/transports/websocket/upgrades.py); Tornado's server
receives all other connections untouched. With TLS there is nothing to examine, so Tornado receives every
connection.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol

from tornado.iostream import IOStream, SSLIOStream
from tornado.netutil import ssl_wrap_socket

from mesh.gateway.http.forwarded import Peer, TrustedProxies
from mesh.gateway.http.proxy_headers import ProxyHeaders
from mesh.gateway.http.proxy_protocol import peer_address
from mesh.gateway.http.server import GatewayServer
from mesh.settings import GatewaySettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

MAX_PEEK_BYTES = 8_192
"""The most bytes examined of a connection. A longer head goes to Tornado."""
ACCEPTS_PER_ROUND = 16
"""Connections accepted before other events are handled."""
FINAL_ROUNDS = 256
"""At close: 4,096 connections, Linux's default limit of a listener's queue (net.core.somaxconn)."""
ACCEPT_RETRY_SECONDS = 0.5
"""The delay until the next attempt, if no descriptor is free to accept a connection."""
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


Answered = Callable[[socket.socket, Peer | None], None]
"""Takes back a connection whose first request has been answered."""


class Shortcut(Protocol):
    """A transport that answers some requests itself, before Tornado sees them."""

    def offer(self, sock: socket.socket, peer: Peer | None, head: bytes, answered: Answered) -> bool:
        """Take over a connection if its first bytes are such a request; return whether it was taken.

        The bytes are still in the kernel's buffer: the shortcut must read them. It calls `answered` if the
        connection continues as HTTP after the answer.
        """


class Listener:
    """Accepts the connections of a gateway.

    Args:
        server: receives every connection that no shortcut takes.
        shortcuts: tried in this order.
        settings: the gateway's; a silent connection is closed after `handshake_timeout_seconds`.
        tls: the TLS context of every connection, if they use TLS.
    """

    def __init__(
        self,
        server: GatewayServer,
        shortcuts: Sequence[Shortcut],
        settings: GatewaySettings,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._on_accepted = self._peek if tls is None else self._to_tls
        self._timeout_seconds = settings.handshake_timeout_seconds
        trusted = TrustedProxies(settings.trusted_proxies)
        self._proxy_headers = ProxyHeaders(trusted, self._timeout_seconds, self._on_accepted)
        self._server = server
        self._shortcuts = list(shortcuts)
        self._max_head_bytes = min(settings.max_head_bytes, MAX_PEEK_BYTES)
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[socket.socket, Callable[[socket.socket, Peer | None], None]] = {}
        self._silent: dict[socket.socket, tuple[float, Peer | None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def add_sockets(self, listeners: Sequence[socket.socket], proxied: bool = False) -> None:
        """Accept from these sockets; if `proxied`, their connections begin with a PROXY header."""
        for listener in listeners:
            self._listeners[listener] = self._proxy_headers.expect if proxied else self._on_accepted
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Stop accepting. Requests that have arrived are passed on; silent connections are closed."""
        self._closed = True
        for listener in self._listeners:
            for _ in range(FINAL_ROUNDS):
                if not self._accept(listener):
                    break
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()
        self._proxy_headers.close()
        for sock, (_, peer) in list(self._silent.items()):
            self._readable(sock, peer)
        if self._timer is not None:
            self._timer.cancel()

    # Accepting

    def _accept(self, listener: socket.socket) -> bool:
        """Accept some connections; return whether there may be more."""
        for _ in range(ACCEPTS_PER_ROUND):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return False
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._pause_accepting(listener, error)
                return False
            sock.setblocking(False)
            self._listeners[listener](sock, peer_address(peer))
        return True

    def _pause_accepting(self, listener: socket.socket, error: OSError) -> None:
        counters.count("accepts_failed")
        log.error("connections cannot be accepted at the moment", reason=error.strerror)
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(ACCEPT_RETRY_SECONDS, self._accept_again, listener)

    def _accept_again(self, listener: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    # The first bytes

    def _peek(self, sock: socket.socket, peer: Peer | None, deadline: float | None = None) -> None:
        """Peek at the first bytes; most requests have arrived when their connection is accepted."""
        try:
            head = sock.recv(MAX_PEEK_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._wait(sock, peer, deadline or self._loop.time() + self._timeout_seconds)
        except OSError:
            sock.close()
        else:
            self._dispatch(sock, peer, head)

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
        self._peek(sock, peer, deadline)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for sock, (deadline, peer) in list(self._silent.items()):  # in the order of their deadlines
            if deadline > now:
                self._timer = self._loop.call_later(deadline - now, self._expire)
                return
            self._readable(sock, peer)  # it may have sent something while this process was stalled

    def _dispatch(self, sock: socket.socket, peer: Peer | None, head: bytes) -> None:
        if not head:
            sock.close()
            return
        if len(head) <= self._max_head_bytes:
            for shortcut in self._shortcuts:
                if shortcut.offer(sock, peer, head, self._answered):
                    return
        self._to_tornado(sock, peer)

    def _answered(self, sock: socket.socket, peer: Peer | None) -> None:
        self._to_tornado(sock, peer, answered=True)

    def _to_tls(self, sock: socket.socket, peer: Peer | None) -> None:
        assert self._tls is not None
        server = self._server
        try:
            wrapped = ssl_wrap_socket(sock, self._tls, server_side=True, do_handshake_on_connect=False)
        except OSError:  # the client has disconnected in the meantime
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
