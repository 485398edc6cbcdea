"""The contract between a gateway and its transports: what it gives them, and what it asks of each."""

from dataclasses import dataclass
from typing import Any, Protocol

import zmq

from gateway.flow.outbox import Flusher
from gateway.http.bodies import Bodies
from gateway.http.listener import Shortcut
from gateway.hub import Hub
from mesh.bus.calls import Calls
from mesh.endpoint import Endpoint
from mesh.settings import Settings


@dataclass(frozen=True)
class Services:
    """Of one gateway.

    Attributes:
        gateway: its id.
        hub: has its clients.
        endpoint: the application's.
        settings: all of them.
        secret: signs what its transports give to clients; the same on all gateways.
        calls: to the other gateways.
        context: for ZeroMQ sockets.
        flusher: of outboxes, once in each tick.
        bodies: of HTTP requests, bounded all together.
    """

    gateway: str
    hub: Hub
    endpoint: Endpoint
    settings: Settings
    secret: str
    calls: Calls
    context: zmq.Context[zmq.Socket[bytes]]
    flusher: Flusher
    bodies: Bodies


class TransportServer(Protocol):
    """All of one transport in a gateway. Made, before the gateway listens, by its maker in registry.py."""

    @property
    def name(self) -> str:
        """As of its connections."""

    @property
    def address(self) -> str:
        """Where clients connect, if not at the gateway's HTTP port; else empty."""

    @property
    def shortcut(self) -> Shortcut | None:
        """Offered each new connection to the HTTP port, unless it begins with TLS; None for none."""

    def routes(self) -> list[tuple[Any, ...]]:
        """(pattern of the path, Tornado handler, its arguments) of what is served over HTTP."""

    def start(self) -> None:
        """Begin to take clients."""

    def stop_accepting(self) -> None:
        """The gateway drains: take no new clients, if they can be told. The hub closes the others."""

    async def aclose(self, timeout_seconds: float) -> None:
        """The hub has closed all clients: wait, at most this long, for what is on its way to them."""
