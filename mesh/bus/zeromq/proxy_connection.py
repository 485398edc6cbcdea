"""One node's way onto the bus through one proxy: a socket that lives as long as its connection.

A connection that ended is not taken up again, but replaced: libzmq would keep what it had not sent and
deliver it to the next proxy, behind what was sent again meanwhile. The proxy subscribes to everything; its
subscription, read from our XPUB, tells that it is there.
"""

import asyncio
import time
from typing import Protocol

import zmq

from mesh.addresses import publish_address
from mesh.bus.frames import encode_again
from mesh.bus.zeromq.connect_failures import CANNOT_CONNECT, ConnectFailures
from mesh.bus.zeromq.resend_buffer import RESENT_SECONDS, NumberedMessage, ResendBuffer
from mesh.settings import BusSettings
from mesh.telemetry import get_logger
from mesh.zeromq import sockets
from mesh.zeromq.curve import proxy_key
from mesh.zeromq.socket_reader import SocketReader

log = get_logger("mesh.bus")

FIRST_RETRY_SECONDS = 0.02
LAST_RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 1.0
"""Nobody waits for longer for a proxy that is not there, or does not answer."""

MAX_PROBES = 1_000

_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Owner(Protocol):
    """What a connection tells the publisher that it belongs to."""

    def proxy_connected(self, connection: "ProxyConnection") -> None:
        """The proxy is there."""

    def proxy_lost(self, connection: "ProxyConnection") -> None:
        """The proxy is known not to be there, or not to answer."""


class ProxyConnection:
    """The way through one proxy.

    Attributes:
        address: of the proxy.
        index: of this connection among the node's.
        connected: whether the proxy is there.
        heard: whether something has come back through it since, so that both directions work.
        doubted: whether it owes an answer that others have given, and is not used until it answers.
        away: whether it is known not to be there: nobody need wait for it.
        interruptions: how often it has gone.
        sent: what may be lost with the proxy.
        receivers: ids of the nodes that say they hear this proxy.
        heard_at: when something last came back, by the event loop's clock.
        heard_since: since when things come back.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: BusSettings,
        address: str,
        index: int,
        owner: Owner,
    ) -> None:
        self.address = address
        self.index = index
        self.connected = False
        self.heard = False
        self.away = self.doubted = False
        self.interruptions = 0
        # A proxy takes what it cannot pass on to a node that is cut off from it, until that node says so.
        self.resend_buffer = ResendBuffer(RESENT_SECONDS + settings.proxy_timeout_seconds)
        self.receivers: set[str] = set()
        self.heard_at = self.heard_since = 0.0
        self._probes: dict[int, int] = {}
        self._context = context
        self._settings = settings
        self._owner = owner
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._reader: SocketReader | None = None
        self._monitor_reader: SocketReader | None = None
        self._failures = ConnectFailures()
        self._closed = False

    def open(self) -> None:
        """Connect; its owner is told when the proxy is there.

        Raises:
            MeshError: if the address or the keys cannot be used.
            ZMQError: if no socket can be made, e.g. because too many files are open.
        """
        try:
            self._connect()
        except BaseException:
            self._shut(linger_ms=0)
            raise
        self._wait_impatiently()

    def _connect(self) -> None:
        socket = self._socket = sockets.bus_publisher(self._context, self._settings)
        self._monitor = sockets.monitor(socket, _EVENTS)
        self._reader = SocketReader(socket, self._subscription)
        self._monitor_reader = SocketReader(self._monitor, lambda _: self._ended())
        self._reader.start()
        self._monitor_reader.start()
        sockets.connect(socket, publish_address(self.address), proxy_key(socket, self.address))

    def send(self, frames: list[bytes]) -> bool:
        """Send; False if the proxy is not there or its queue is full."""
        socket = self._socket
        if socket is None or not self.connected:
            return False
        try:
            socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        else:
            return True
        finally:
            self._reader.look_again()  # type: ignore[union-attr]  # there as long as the socket is

    def send_kept(self, message: NumberedMessage) -> bool:
        """As `send`, and remember it until the proxy has certainly passed it on."""
        topic, header, data = message.frames
        if message.again:
            # With its age: who subscribed after it was published must not get it behind newer ones.
            header = encode_again(header, int((time.monotonic() - message.published) * 1000))
        if not self.send([topic, header, data]):
            return False
        self.resend_buffer.add(message)
        return True

    def probe(self, sequence: int, frames: list[bytes]) -> None:
        """Send a probe; when it comes back, `echoed` knows what the proxy has taken."""
        if self.send(frames):
            if len(self._probes) >= MAX_PROBES:
                del self._probes[next(iter(self._probes))]
            self._probes[sequence] = self.resend_buffer.position

    def echoed(self, sequence: int) -> bool:
        """A probe has come back; returns whether that is news: both directions work, or work again."""
        position = self._probes.pop(sequence, None)
        if position is None:
            return False
        self.resend_buffer.taken(position)
        self.heard_at = asyncio.get_running_loop().time()
        doubted = self.doubted
        self.away = self.doubted = False
        if self.heard:
            return doubted
        self._stop_timer()
        self.heard, self.heard_since = True, self.heard_at
        return True

    def deaf(self) -> None:
        """What comes back from the proxy is interrupted."""
        self.heard = False
        self._probes.clear()
        self._wait_impatiently()

    def lose(self) -> None:
        """Give this connection up, and try for another."""
        self._ended()

    def close(self) -> None:
        """Stop; what was sent has a moment to leave."""
        self._closed = True
        self.connected = self.heard = False
        self._shut(sockets.LINGER_MS)

    def _subscription(self, frames: list[bytes]) -> None:
        there = frames[0][:1] == b"\x01"
        if there and not self.connected:
            self.connected = True
            self.away = False
            self._wait_impatiently()
            self._retry_seconds = FIRST_RETRY_SECONDS
            self._failures.forget(self.address)
            log.debug("proxy is there", proxy=self.address)
            self._owner.proxy_connected(self)
        elif not there and self.connected:
            self._ended()

    def _wait_impatiently(self) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._impatient)

    def _impatient(self) -> None:
        if not self.heard:
            self.away = True
            self._owner.proxy_lost(self)

    def _ended(self) -> None:
        if self._socket is None:
            return
        was = self.connected
        self._shut(linger_ms=0)
        self.connected = self.heard = self.doubted = False
        self.away = True
        self.receivers.clear()
        self._probes.clear()
        if was:
            self.interruptions += 1
            log.warning("proxy is gone", proxy=self.address)
        self._timer = asyncio.get_running_loop().call_later(self._retry_seconds, self._again)
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)
        self._owner.proxy_lost(self)

    def _again(self) -> None:
        if self._closed:
            return
        try:
            self.open()
        except CANNOT_CONNECT as error:
            self._failures.add(self.address, error)
            self._timer = asyncio.get_running_loop().call_later(LAST_RETRY_SECONDS, self._again)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _shut(self, linger_ms: int) -> None:
        self._stop_timer()
        for reader in (self._reader, self._monitor_reader):
            if reader is not None:
                reader.close()
        socket, monitor = self._socket, self._monitor
        self._socket = self._monitor = None
        if socket is not None:
            socket.disable_monitor()
        if monitor is not None:
            monitor.close()
        if socket is not None:
            socket.close(linger_ms)
