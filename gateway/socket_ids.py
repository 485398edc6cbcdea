"""Socket ids, which are topics as in Phoenix: a broadcast of `disconnect` to an id closes its sockets."""

import asyncio

from mesh.app import topics
from mesh.bus.contract import Bus
from mesh.bus.delivery import subscribed
from mesh.gateway.client import Client
from mesh.telemetry import get_logger

log = get_logger(__name__)

SUBSCRIBE_TIMEOUT_SECONDS = 2.0
"""How long a connection waits for the subscription of its id."""


class SocketIds:
    """The clients of a gateway by id; each client holds one subscription of its id.

    Args:
        bus: the bus on which the ids are subscribed.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._clients: dict[str, dict[Client, None]] = {}

    async def subscribe(self, socket_id: str) -> None:
        """Subscribe to an id before its client is admitted, so that no later `disconnect` is missed.

        If the bus does not confirm the subscription in time, returns all the same: admitting the client is
        preferred to refusing it.
        """
        self._bus.subscribe(topics.exact(socket_id))
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
                await subscribed(self._bus)
        except TimeoutError:
            log.warning("the bus did not confirm the subscription of a socket id", socket_id=socket_id)
        except asyncio.CancelledError:  # the client will not be admitted
            self.unsubscribe(socket_id)
            raise

    def unsubscribe(self, socket_id: str) -> None:
        """End one subscription made by `subscribe`."""
        self._bus.unsubscribe(topics.exact(socket_id))

    def add(self, client: Client) -> None:
        """Add an admitted client, whose id has been subscribed for it."""
        if client.id is not None:
            self._clients.setdefault(client.id, {})[client] = None

    def remove(self, client: Client) -> None:
        """Remove a client that is gone, and end its subscription."""
        if client.id is None:
            return
        others = self._clients[client.id]
        del others[client]
        if not others:
            del self._clients[client.id]
        self.unsubscribe(client.id)

    def clients(self, topic: str) -> list[Client]:
        """Return the clients whose id is this topic."""
        return list(self._clients.get(topic, ()))
