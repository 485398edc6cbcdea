"""Reads the PROXY header at the start of a connection, before anything else is read from it."""

import asyncio
import socket
from collections.abc import Callable
from typing import NamedTuple

from mesh.errors import RemoteProtocolError
from mesh.gateway.http import proxy_protocol
from mesh.gateway.http.forwarded import Peer, TrustedProxies
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

LOG_SECONDS = 10.0
"""The interval of log lines about closed connections; each counts those since the last one."""
CHUNK_BYTES = 512


class _Waiting(NamedTuple):
    deadline: float
    peer: Peer | None
    read: bytes


class ProxyHeaders:
    """Reads the PROXY headers of connections.

    Args:
        trusted: the proxies that may send a header; if it has no networks, every peer may.
        timeout_seconds: the time for the whole header to arrive.
        on_client: called with the connection and its client's address.
    """

    def __init__(
        self,
        trusted: TrustedProxies,
        timeout_seconds: float,
        on_client: Callable[[socket.socket, Peer | None], None],
    ) -> None:
        self._trusted = trusted
        self._timeout_seconds = timeout_seconds
        self._on_client = on_client
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[socket.socket, _Waiting] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed_since_log = 0
        self._next_log = 0.0
        self._closed = False

    def expect(self, sock: socket.socket, peer: Peer | None) -> None:
        """Read the header of a connection that was just accepted."""
        if self._trusted and (peer is None or not self._trusted.trusts(peer[0])):
            self._refuse(sock, peer, "its address is not in gateway.trusted_proxies")
            return
        self._read(sock, _Waiting(self._loop.time() + self._timeout_seconds, peer, b""))

    def close(self) -> None:
        """Read the headers that have arrived, and close the other connections."""
        self._closed = True
        for sock in list(self._waiting):
            self._readable(sock)
        if self._timer is not None:
            self._timer.cancel()

    def _read(self, sock: socket.socket, so_far: _Waiting) -> None:
        while True:
            try:
                chunk = sock.recv(CHUNK_BYTES, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                self._wait(sock, so_far)
                return
            except OSError:
                chunk = b""
            if not chunk:
                sock.close()
                return
            try:
                header = proxy_protocol.read(so_far.read + chunk)
            except RemoteProtocolError as error:
                self._refuse(sock, so_far.peer, str(error))
                return
            # What follows the header is left for the next reader.
            header_bytes = len(chunk) if header is None else header.size - len(so_far.read)
            sock.recv(header_bytes)
            if header is not None:
                self._on_client(sock, header.source or so_far.peer)
                return
            so_far = so_far._replace(read=so_far.read + chunk)

    def _wait(self, sock: socket.socket, so_far: _Waiting) -> None:
        if self._closed:
            sock.close()
            return
        if so_far.deadline <= self._loop.time():
            self._refuse(sock, so_far.peer, "its PROXY header did not arrive in time")
            return
        self._waiting[sock] = so_far
        self._loop.add_reader(sock.fileno(), self._readable, sock)
        if self._timer is None:
            self._timer = self._loop.call_at(so_far.deadline, self._expire)

    def _readable(self, sock: socket.socket) -> None:
        self._read(sock, self._forget(sock))

    def _forget(self, sock: socket.socket) -> _Waiting:
        self._loop.remove_reader(sock.fileno())
        return self._waiting.pop(sock)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for sock, each in list(self._waiting.items()):
            if each.deadline <= now:
                self._readable(sock)  # it may have arrived while this process was stalled
        if self._waiting:
            soonest = min(each.deadline for each in self._waiting.values())
            self._timer = self._loop.call_at(soonest, self._expire)

    def _refuse(self, sock: socket.socket, peer: Peer | None, reason: str) -> None:
        sock.close()
        counters.count("proxy_headers_refused")
        self._closed_since_log += 1
        if self._loop.time() >= self._next_log:
            self._next_log = self._loop.time() + LOG_SECONDS
            log.warning(
                "connection closed: it needs a PROXY header from a trusted proxy",
                peer=peer and peer[0],
                reason=reason,
                connections=self._closed_since_log,
            )
            self._closed_since_log = 0
