"""What a gateway gives to its transports."""

from dataclasses import dataclass

import zmq

from gateway.http.bodies import Bodies
from gateway.hub import Hub
from gateway.outbox import Flusher
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
