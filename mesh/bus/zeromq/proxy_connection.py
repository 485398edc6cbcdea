"""A node's connection to one proxy: an XPUB (ZeroMQ RFC 29) that is replaced when its connection ends.

proxy_connection_phases.py decides whether the proxy is connected, whether messages make the round trip
through it, and what happens when that changes; this file carries it out.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import zmq

from mesh.addresses import publish_address
from mesh.bus.frames import encode_resent
from mesh.bus.zeromq.connect_failures import CANNOT_CONNECT, ConnectFailures
from mesh.bus.zeromq.proxy_connection_phases import (
    ANSWERING,
    CONNECTED,
    TABLE,
    UNAVAILABLE,
    Action,
    Event,
    Phase,
)
from mesh.bus.zeromq.resend_buffer import MIN_KEPT_SECONDS, NumberedMessage, ResendBuffer
from mesh.errors import PhaseError
from mesh.phases import Phases
from mesh.settings import BusSettings
from mesh.telemetry import get_logger
from mesh.zeromq import sockets
from mesh.zeromq.curve import proxy_key
from mesh.zeromq.socket_reader import SocketReader

log = get_logger(__name__)

FIRST_RETRY_SECONDS = 0.02
LAST_RETRY_SECONDS = 0.5
RESPONSE_SECONDS = 1.0
"""Joins wait for at most this long for a proxy that is not connected or does not answer."""

MAX_PROBES = 1_000

MORE, LAST = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)
"""The flags of all frames but the last, and of the last. As integers: `send_multipart`, which combines them
for each frame, takes twice as long."""

_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Owner(Protocol):
    """The publisher that a connection belongs to, which it informs of changes."""

    def proxy_connected(self, connection: "ProxyConnection") -> None:
        """The proxy is connected."""

    def proxy_lost(self, connection: "ProxyConnection") -> None:
        """The proxy is known to be disconnected or unresponsive."""


class ProxyConnection:
    """The path through one proxy.

    Attributes:
        address: the address of the proxy.
        index: identifies this connection among the node's.
        interruptions: how often the connection to the proxy has ended.
        resend_buffer: the messages that may be lost with the proxy.
        receivers: the ids of the nodes that announce to receive from this proxy.
        answered_at: when a probe last came back, in event-loop time.
        answering_since: when the first probe came back after the proxy was connected or interrupted.
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
        self.interruptions = 0
        # A proxy accepts messages for a node that it cannot reach, until that node announces the failure.
        self.resend_buffer = ResendBuffer(MIN_KEPT_SECONDS + settings.proxy_timeout_seconds)
        self.receivers: set[str] = set()
        self.answered_at = self.answering_since = 0.0
        self._phases = Phases(TABLE, Phase.CLOSED)
        self._probes: dict[int, int] = {}
        self._context = context
        self._settings = settings
        self._owner = owner
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._connected_socket: zmq.Socket[bytes] | None = None  # the same, while the proxy is connected
        self._monitor: zmq.Socket[bytes] | None = None
        self._reader: SocketReader | None = None
        self._monitor_reader: SocketReader | None = None
        self._connect_failures = ConnectFailures()

    @property
    def phase(self) -> Phase:
        """The phase of the connection."""
        return self._phases.phase

    @property
    def connected(self) -> bool:
        """Whether the proxy is connected."""
        return self._phases.phase in CONNECTED

    @property
    def answering(self) -> bool:
        """Whether a probe has come back since the proxy was connected, so that both directions work."""
        return self._phases.phase in ANSWERING

    @property
    def unavailable(self) -> bool:
        """Whether joins need not wait for this proxy."""
        return self._phases.phase in UNAVAILABLE

    def open(self) -> None:
        """Connect; the owner is informed when the proxy is connected.

        Raises:
            MeshError: if the address or a key cannot be used.
            ZMQError: if no socket can be created, e.g. because too many files are open.
        """
        try:
            self._connect()
        except BaseException:
            self._close_sockets(linger_ms=0)
            raise
        self._handle(Event.OPENED)

    def _connect(self) -> None:
        socket = self._socket = sockets.bus_publisher(self._context, self._settings)
        self._monitor = sockets.monitor(socket, _EVENTS)
        self._reader = SocketReader(socket, self._on_subscription)
        self._monitor_reader = SocketReader(self._monitor, lambda _: self.give_up())
        self._reader.start()
        self._monitor_reader.start()
        sockets.connect(socket, publish_address(self.address), proxy_key(socket, self.address))

    def send(self, frames: list[bytes]) -> bool:
        """Send a message; return False if the proxy is not connected or its queue is full."""
        socket = self._connected_socket
        if socket is None:
            return False
        topic, header, data = frames
        try:
            socket.send(topic, MORE)
            socket.send(header, MORE)
            socket.send(data, LAST)
        except zmq.Again:
            return False
        else:
            return True
        finally:
            self._reader.read_soon()  # type: ignore[union-attr]  # exists as long as the socket does

    def send_and_keep(self, message: NumberedMessage) -> bool:
        """As `send`, and keep the message until the proxy has certainly forwarded it."""
        topic, header, data = message.frames
        if message.resent:
            # With its age: a node that subscribed later must not receive it after newer messages.
            header = encode_resent(header, int((time.monotonic() - message.published_at) * 1000))
        if not self.send([topic, header, data]):
            return False
        self.resend_buffer.add(message)
        return True

    def probe(self, sequence: int, frames: list[bytes]) -> None:
        """Send a probe. When it comes back, the proxy has accepted all earlier messages (`echoed`)."""
        if self.send(frames):
            if len(self._probes) >= MAX_PROBES:
                del self._probes[next(iter(self._probes))]
            self._probes[sequence] = self.resend_buffer.position

    def echoed(self, sequence: int) -> bool:
        """Handle an echo; return whether the connection becomes CONFIRMED, for the first time or again."""
        position = self._probes.pop(sequence, None)
        if position is None:
            return False
        self.resend_buffer.confirm_up_to(position)
        now = self.answered_at = asyncio.get_running_loop().time()
        if self.phase is Phase.CONFIRMED:
            return False
        if not self.answering:
            self.answering_since = now
        self._handle(Event.ECHOED)
        return True

    def suspect(self) -> None:
        """Other proxies have answered and this one has not: do not use it until a probe comes back."""
        if self.phase is Phase.CONFIRMED:
            self._handle(Event.SUSPECT)

    def interrupt(self) -> None:
        """Nothing arrives from the proxy any more: whether messages make the round trip is open again."""
        self._handle(Event.INTERRUPTED)

    def give_up(self) -> None:
        """Give up this connection and try another one."""
        if self._socket is not None:
            self._handle(Event.ENDED)

    def close(self) -> None:
        """Stop, after a moment to send what is queued."""
        self._handle(Event.CLOSE)

    def _on_subscription(self, frames: list[bytes]) -> None:
        # ZeroMQ RFC 29: the first byte distinguishes a subscription from its cancellation.
        subscribed = frames[0][:1] == b"\x01"
        if subscribed and not self.connected:
            self._connected_socket = self._socket
            self._retry_seconds = FIRST_RETRY_SECONDS
            self._connect_failures.forget(self.address)
            log.debug("proxy is connected", proxy=self.address)
            self._handle(Event.PEER_ARRIVED)
        elif not subscribed and self.connected:
            self._handle(Event.ENDED)

    def _handle(self, event: Event) -> None:
        try:
            actions = self._phases.handle(event)
        except PhaseError as error:  # a defect of ours must not affect other connections
            log.error("a connection to a proxy is given up", proxy=self.address, reason=str(error))
            actions = self._phases.handle(Event.ENDED) if self._socket is not None else ()
        for action in actions:
            _ACTIONS[action](self)

    # Actions

    def _start_timeout(self) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(RESPONSE_SECONDS, self._handle, Event.OVERDUE)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count_interruption(self) -> None:
        self.interruptions += 1
        log.warning("proxy is gone", proxy=self.address)

    def _discard_socket(self) -> None:
        self._close_sockets(linger_ms=0)
        self.receivers.clear()
        self._probes.clear()

    def _flush_socket(self) -> None:
        self._close_sockets(sockets.LINGER_MS)

    def _retry_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._retry_seconds, self._retry)
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)

    def _retry(self) -> None:
        try:
            self.open()
        except CANNOT_CONNECT as error:
            self._connect_failures.add(self.address, error)
            self._timer = asyncio.get_running_loop().call_later(LAST_RETRY_SECONDS, self._retry)

    def _close_sockets(self, linger_ms: int) -> None:
        self._stop_timer()
        for reader in (self._reader, self._monitor_reader):
            if reader is not None:
                reader.close()
        socket, monitor = self._socket, self._monitor
        self._socket = self._connected_socket = self._monitor = None
        if socket is not None:
            socket.disable_monitor()
        if monitor is not None:
            monitor.close()
        if socket is not None:
            socket.close(linger_ms)


_ACTIONS: dict[Action, Callable[[ProxyConnection], None]] = {
    Action.START_TIMEOUT: ProxyConnection._start_timeout,
    Action.STOP_TIMEOUT: ProxyConnection._stop_timer,
    Action.FORGET_PROBES: lambda connection: connection._probes.clear(),
    Action.COUNT_INTERRUPTION: ProxyConnection._count_interruption,
    Action.DISCARD_SOCKET: ProxyConnection._discard_socket,
    Action.FLUSH_SOCKET: ProxyConnection._flush_socket,
    Action.RETRY_LATER: ProxyConnection._retry_later,
    Action.REPORT_CONNECTED: lambda connection: connection._owner.proxy_connected(connection),
    Action.REPORT_LOST: lambda connection: connection._owner.proxy_lost(connection),
}
