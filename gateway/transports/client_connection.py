"""The base classes of the connections of all transports.

`ClientConnection` carries out the phase table (client_phases.py) for one client, and implements Transport
for the hub. A `QueueingConnection` keeps its unsent messages in this process. Only this file contains the
subscription of a client's id (`id_subscribed`), the idle time-out (`idle_timer`) and the closing of slow
clients. The limit of what waits is here too, except for connections with an `Outbox` (gateway/flow).
"""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol

from mesh.app.mount import Mount
from mesh.errors import CloseCode, MeshError, PhaseError
from mesh.gateway.client import Client
from mesh.gateway.fanout.delivery_stats import CLIENT_GONE, SLOW_CLIENT
from mesh.gateway.flow.backlog import Backlog
from mesh.gateway.flow.watermark import HighWatermark
from mesh.gateway.hub import Hub
from mesh.gateway.transports.admission import Admitted
from mesh.gateway.transports.base import Encoding, OutboxContract
from mesh.gateway.transports.client_phases import TABLE, Action, Event, Phase
from mesh.gateway.transports.idle_timer import IdleTimer
from mesh.phases import Phases
from mesh.settings import GatewaySettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)


class ClientGoneError(MeshError):
    """The client disconnected during its admission, so it cannot be answered."""


class id_subscribed:  # noqa: N801  (used as a statement)
    """`async with id_subscribed(hub, admitted):` around the admission of a client.

    The client's id is subscribed before the body runs, so that no `disconnect` for it is missed. The body
    calls `ClientConnection.admit`, after which the hub ends the subscription. If the client is gone or
    refused in the meantime, the body must raise an exception, which ends the subscription.
    """

    __slots__ = ("_hub", "_id")

    def __init__(self, hub: Hub, admitted: Admitted) -> None:
        self._hub = hub
        self._id = admitted.socket_id

    async def __aenter__(self) -> None:
        if self._id is not None:
            await self._hub.socket_ids.subscribe(self._id)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._id is not None:
            self._hub.socket_ids.unsubscribe(self._id)


class ConnectionServer(Protocol):
    """What a connection needs from its TransportServer."""

    hub: Hub
    settings: GatewaySettings


class ClientConnection(ABC):
    """One client's connection. Implements Transport.

    Subclasses define `outbox` and the five methods of the last section, and call `admit`, `end` and `lost`.

    Attributes:
        client: the client in the hub; None until it is admitted.
        last_heard: event-loop time at which the client last sent something; infinite while no idle time-out
            applies.
    """

    __slots__ = ("__weakref__", "_phases", "_server", "client", "last_heard")

    name = ""
    slow_reason = "the client does not read"
    outbox: OutboxContract

    def __init__(self, server: ConnectionServer) -> None:
        self.client: Client | None = None
        self._server = server
        self._phases = Phases(TABLE, Phase.OPENING)
        self.last_heard = asyncio.get_running_loop().time()

    @property
    def phase(self) -> Phase:
        """The connection's phase."""
        return self._phases.phase

    # Transport

    def close(self, code: int, reason: str) -> None:
        """Deliver what is queued, then close with this code."""
        self._handle(Event.CLOSE, code, reason)

    def close_slow(self, unsent: int) -> None:
        """Disconnect the client, in a later tick."""
        asyncio.get_running_loop().call_soon(self._overflow, unsent)

    def pause(self) -> None:
        """Stop delivering messages until `resume`."""
        self._handle(Event.PAUSE)

    def resume(self) -> None:
        """Deliver messages again."""
        self._handle(Event.RESUME)

    # For the transport itself

    def admit(self, mount: Mount, admitted: Admitted, encoding: Encoding) -> None:
        """Register the client with the hub, and start reading."""
        socket_id, assigns = admitted.socket_id, admitted.assigns
        self.client = self._server.hub.connect(mount, socket_id, assigns, encoding, self, self.outbox)
        self._handle(Event.ADMITTED)

    def end(self, code: int | None, reason: str = "") -> None:
        """Close by the transport's own decision; the hub is told."""
        self._handle(Event.END, code, reason)

    def lost(self) -> None:
        """Release a connection whose client is gone; the hub is told."""
        self._handle(Event.LOST)

    def time_out(self) -> None:
        """Close the connection of a client that was silent for too long."""
        log.info(
            "connection closed", code=int(CloseCode.PROTOCOL_ERROR), reason="idle", transport=self.name
        )
        self.end(CloseCode.PROTOCOL_ERROR, "idle")

    @property
    def socket_id(self) -> str | None:
        """The client's id for log lines; None until it is admitted."""
        return self.client.id if self.client is not None else None

    def report_dropped(self, dropped: Counter[str]) -> None:
        """Log the number of broadcasts dropped during a stall, by reason."""
        log.warning("a slow client missed broadcasts", socket_id=self.socket_id, **dropped)

    # The phase table

    def _handle(
        self, event: Event, code: int | None = None, reason: str = "", *, hub_reason: str = "closed"
    ) -> None:
        try:
            actions = self._phases.handle(event)
        except PhaseError as error:
            log.error(
                "a connection was closed because of a defect in the gateway",
                socket_id=self.socket_id,
                exc_info=error,
            )
            actions = self._phases.handle(Event.LOST)  # which every phase allows
        for action in actions:
            if action is Action.START_READING:
                self._start_reading()
            elif action is Action.STOP_READING:
                self._stop_reading()
            elif action is Action.SEND_CLOSE:
                self._send_close(code, reason)
            elif action is Action.DROP_UNSENT:
                self._discard(SLOW_CLIENT)
            elif action is Action.RELEASE:
                self._release()
            elif self.client is not None:
                self._server.hub.disconnected(self.client, hub_reason)

    def _overflow(self, unsent: int) -> None:
        if self._phases.phase is not Phase.CLOSED:
            counters.count("slow_clients_closed")
            log.warning(
                "slow client closed", socket_id=self.socket_id, unsent=unsent, reason=self.slow_reason
            )
        self._handle(Event.OVERFLOW)

    # Defined by each transport

    @abstractmethod
    def _start_reading(self) -> None:
        """Deliver the client's messages, waiting ones first; in CLOSING, only notice its disconnection."""

    @abstractmethod
    def _stop_reading(self) -> None:
        """Stop delivering the client's messages; they wait."""

    @abstractmethod
    def _send_close(self, code: int | None, reason: str) -> None:
        """Send the close after what is queued; FINISHED must follow within a bounded time."""

    @abstractmethod
    def _discard(self, reason: str) -> None:
        """Drop what is queued, and count it and all later frames as lost for this reason."""

    @abstractmethod
    def _release(self) -> None:
        """Release all resources."""


class QueueingConnection(ClientConnection):
    """A connection that is its own outbox and keeps what waits for the client, up to a limit."""

    __slots__ = ("_backlog", "_lost_reason", "watermark")

    def __init__(self, server: ConnectionServer) -> None:
        super().__init__(server)
        self.watermark: HighWatermark | None = None
        self._backlog: Backlog[Any] | None = None
        self._lost_reason = CLIENT_GONE

    @property
    def outbox(self) -> OutboxContract:  # type: ignore[override]
        """This connection."""
        return self

    @property
    def unsent_bytes(self) -> int:
        """The bytes that wait for the client."""
        return self._backlog.size if self._backlog is not None else 0

    @abstractmethod
    def send(self, frame: Any) -> None:
        """Queue a ready frame."""

    def _enforce_limit(self, backlog: Backlog[Any]) -> None:
        """Enforce the limit after an addition: drop what may be dropped, or close the client."""
        limit = self._server.settings.max_unsent_bytes
        if backlog.size > limit and not backlog.trim(limit):
            self.close_slow(backlog.size)
        elif self.watermark is not None:
            self.watermark.update(backlog.size)

    def _discard(self, reason: str) -> None:
        if self._lost_reason == CLIENT_GONE:  # the first reason counts
            self._lost_reason = reason
        if self._backlog is not None:
            self._backlog.clear(self._lost_reason)

    def _release(self) -> None:
        self._discard(CLIENT_GONE)


def idle_timer(connections: Callable[[], Iterable[ClientConnection]], idle_seconds: float) -> IdleTimer:
    """Return a timer that ends connections silent for `idle_seconds`; it checks at least every second."""

    def time_out_silent(now: float) -> None:
        oldest = now - idle_seconds
        for connection in [each for each in connections() if each.last_heard < oldest]:
            connection.time_out()

    return IdleTimer(min(1.0, idle_seconds / 10), time_out_silent)
