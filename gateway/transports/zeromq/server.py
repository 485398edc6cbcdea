"""The transport over plain ZeroMQ: a DEALER in each client, one ROUTER for all (docs/protocol.md §1.2).

A client is identified by its routing id. One that the gateway does not know, for example after a restart of
the gateway, is sent a CLOSE with the code UNKNOWN.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from mesh.bus.calls import CallHandler
from mesh.errors import CloseCode
from mesh.gateway.fanout.delivery_stats import CLIENT_GONE
from mesh.gateway.flow.backlog import count_lost
from mesh.gateway.transports.client_connection import idle_timer
from mesh.gateway.transports.server import Services
from mesh.gateway.transports.zeromq.client import ZeroMQClient
from mesh.gateway.transports.zeromq.messages import (
    BINARY,
    CLOSE,
    OPEN,
    PING,
    TEXT,
    UNKNOWN,
    close_content,
    encode,
)
from mesh.gateway.transports.zeromq.openings import Openings
from mesh.gateway.transports.zeromq.probes import Probes
from mesh.telemetry import counters, get_logger
from mesh.zeromq import sockets
from mesh.zeromq.curve import CLIENTS
from mesh.zeromq.socket_reader import SocketReader

log = get_logger(__name__)

RETRY_SECONDS = 0.005
"""The interval of retries; ZeroMQ does not report when a client's full queue has room again."""
MAX_PING_BYTES = 125
"""The most bytes of a ping that are echoed, the limit of RFC 6455 §5.5."""


class ZeroMQ:
    """All ZeroMQ clients of a gateway. Implements TransportServer.

    Args:
        services: what the gateway provides.
        bind: the address to listen on.

    Attributes:
        address: the address clients connect to.
    """

    name = "zeromq"
    shortcut = None

    def __init__(self, services: Services, bind: str) -> None:
        self.hub = services.hub
        self.settings = services.settings.gateway
        self._max_clients = services.settings.zeromq.max_clients
        self._loop = asyncio.get_running_loop()
        self._clients: dict[bytes, ZeroMQClient] = {}
        self._blocked: dict[ZeroMQClient, None] = {}
        self._gone: list[ZeroMQClient] = []
        self._retry: asyncio.TimerHandle | None = None
        self._socket = sockets.client_router(
            services.context, services.settings.zeromq, self.settings.max_frame_bytes
        )
        self.address, self._monitor = sockets.bind_monitored(self._socket, bind, CLIENTS)
        self._reader = SocketReader(
            self._socket, self.received, on_behind=lambda behind: None if behind else self._end_gone()
        )
        self._monitor_reader = SocketReader(self._monitor, self._disconnected)
        self._probes = Probes(self._clients.values)
        idle_seconds = self.settings.idle_timeout_seconds
        self._idle = idle_timer(self._clients.values, idle_seconds)
        self._openings = Openings(
            self.hub, services.endpoint, self.address, idle_seconds, self.send_control
        )

    def routes(self) -> list[tuple[Any, ...]]:
        """Nothing is served over HTTP."""
        return []

    def answers(self) -> Mapping[str, CallHandler]:
        """No calls: a connection belongs to one gateway."""
        return {}

    def start(self) -> None:
        """Start reading."""
        self._reader.start()
        self._monitor_reader.start()

    def stop_accepting(self) -> None:
        """No effect: clients that open while the gateway drains are closed with the others."""

    async def aclose(self, timeout_seconds: float) -> None:
        """Stop; ZeroMQ still sends what the hub has sent."""
        del timeout_seconds
        self._idle.cancel()
        if self._retry is not None:
            self._retry.cancel()
        self._openings.close()
        self._probes.close()
        self._reader.close()
        self._monitor_reader.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    # Called by clients

    def send(self, client: ZeroMQClient, frames: tuple[bytes, bytes]) -> bool:
        """Send to a client; return False if its queue is full, in which case `flush` is called soon."""
        try:
            self._socket.send_multipart((client.identity, *frames), zmq.NOBLOCK)
        except zmq.Again:
            self._blocked[client] = None
            if self._retry is None:
                self._retry = self._loop.call_later(RETRY_SECONDS, self._flush)
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._reader.read_soon()  # what it sent before it disconnected is read first
            if not self._gone:
                self._loop.call_soon(self._end_gone)
            self._gone.append(client)
            count_lost(frames[1], CLIENT_GONE)
            return True
        else:
            return True
        finally:
            self._reader.read_soon()

    def send_control(self, identity: bytes, kind: bytes, content: dict[str, Any]) -> None:
        """Send a client a control message, which is lost if the client is gone or does not read."""
        try:
            self._socket.send_multipart((identity, kind, encode(content)), zmq.NOBLOCK)
        except zmq.ZMQError:
            pass
        self._reader.read_soon()

    def forget(self, client: ZeroMQClient) -> None:
        """Forget a client whose connection is closed, and cancel its admission if in progress."""
        if self._clients.get(client.identity) is client:
            del self._clients[client.identity]
        self._blocked.pop(client, None)
        self._openings.cancel(client)

    # From clients

    def received(self, frames: list[bytes]) -> None:
        """Handle a message from the socket: a routing id, a kind, and its content."""
        identity, *rest = frames
        if not 0 < len(rest) <= 2:
            counters.count("frames_malformed")
            return self.send_control(
                identity, CLOSE, close_content(CloseCode.PROTOCOL_ERROR, "want one or two frames")
            )
        handle = _KINDS.get(rest[0])
        if handle is None:
            counters.count("frames_malformed")
            return self._end(identity, CloseCode.PROTOCOL_ERROR, f"no message begins with {rest[0][:8]!r}")
        handle(self, identity, rest[1] if len(rest) == 2 else b"")

    def _on_open(self, identity: bytes, data: bytes) -> None:
        old = self._clients.get(identity)
        others = len(self._clients) + self._openings.cancelled - (old is not None)
        if old is not None:  # the client has restarted
            old.lost()
        if len(data) > self.settings.max_head_bytes:  # as much as the request of a WebSocket
            reason = f"opening of {len(data)} bytes (gateway.max_head_bytes)"
            return self._openings.refuse(identity, 413, reason)
        if others >= self._max_clients:
            log.error("too many ZeroMQ clients", limit=self._max_clients)
            return self._openings.refuse(identity, 503, "too many clients; come later")
        client = self._clients[identity] = ZeroMQClient(self, identity)
        self._openings.start(client, data)

    def _on_text(self, identity: bytes, data: bytes) -> None:
        client = self._known_client(identity)
        if client is not None:
            client.received(data, False)

    def _on_binary(self, identity: bytes, data: bytes) -> None:
        client = self._known_client(identity)
        if client is not None:
            client.received(data, True)

    def _on_ping(self, identity: bytes, data: bytes) -> None:
        client = self._known_client(identity)
        if client is not None:
            client.answer_ping(data[:MAX_PING_BYTES])

    def _on_close(self, identity: bytes, _data: bytes) -> None:
        client = self._clients.get(identity)
        if client is not None:
            client.lost()

    def _known_client(self, identity: bytes) -> ZeroMQClient | None:
        client = self._clients.get(identity)
        if client is None:
            self.send_control(
                identity, CLOSE, close_content(UNKNOWN, "this gateway does not know you; open first")
            )
            return None
        client.last_heard = self._loop.time()
        return client

    def _end(self, identity: bytes, code: int, reason: str) -> None:
        client = self._clients.get(identity)
        if client is None:
            self.send_control(identity, CLOSE, close_content(code, reason))
        else:
            client.end(code, reason)

    # Clients that are gone, or do not read

    def _disconnected(self, _frames: list[bytes]) -> None:
        self._probes.start()

    def _end_gone(self) -> None:
        if self._reader.behind:
            return  # called again when everything has been read
        gone, self._gone = self._gone, []
        for client in gone:
            client.lost()

    def _flush(self) -> None:
        self._retry = None
        for client in list(self._blocked):
            if client.flush():
                self._blocked.pop(client, None)
        if self._blocked and self._retry is None:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._flush)


_KINDS: dict[bytes, Callable[[ZeroMQ, bytes, bytes], None]] = {
    OPEN: ZeroMQ._on_open,
    TEXT: ZeroMQ._on_text,
    BINARY: ZeroMQ._on_binary,
    PING: ZeroMQ._on_ping,
    CLOSE: ZeroMQ._on_close,
}
