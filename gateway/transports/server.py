"""The contract between a gateway and its transports: what it provides, and what each must implement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import zmq

from mesh.app.endpoint import Endpoint
from mesh.bus.calls import CallHandler, Calls
from mesh.gateway.flow.outbox import Flusher
from mesh.gateway.http.bodies import Bodies
from mesh.gateway.http.listener import Shortcut
from mesh.gateway.hub import Hub
from mesh.settings import Settings


@dataclass(frozen=True)
class Services:
    """What a gateway provides to its transports.

    Attributes:
        gateway: the gateway's id.
        hub: has the gateway's clients.
        endpoint: the application's endpoint.
        settings: all settings.
        secret: signs the tokens given to clients; the same on all gateways.
        calls: makes calls to the other gateways.
        context: the context of ZeroMQ sockets.
        flusher: flushes outboxes, once in each tick.
        bodies: limits the bodies of all HTTP requests together.
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
    """One transport of a gateway, made by its maker in registry.py before the gateway listens."""

    @property
    def name(self) -> str:
        """The transport's name, the same as that of its connections."""

    @property
    def address(self) -> str:
        """The address clients connect to; empty if that is the gateway's HTTP port."""

    @property
    def shortcut(self) -> Shortcut | None:
        """Offered each new connection to the HTTP port, except with TLS; None if there is no shortcut."""

    def routes(self) -> list[tuple[Any, ...]]:
        """Return (pattern of the path, Tornado handler, its arguments) of each HTTP route."""

    def answers(self) -> Mapping[str, CallHandler]:
        """Return what answers the transport's own calls between gateways, by name; mostly nothing."""

    def start(self) -> None:
        """Start accepting clients."""

    def stop_accepting(self) -> None:
        """The gateway drains: refuse new clients, if they can be told. The hub closes the others."""

    async def aclose(self, timeout_seconds: float) -> None:
        """Stop, after the hub has closed all clients; wait this long at most for what is sent to them."""
