"""The ids of sockets, which are topics as in Phoenix: `disconnect` broadcast to one closes its sockets."""

import asyncio

from gateway.client import Client
from mesh import topics
from mesh.bus.contract import Bus
from mesh.bus.delivery import subscribed
from mesh.telemetry import get_logger

log = get_logger("gateway.hub")

WAIT_SECONDS = 2.0


class SocketIds:
    """Which clients of a gateway have which id; each client is one subscription of its id.

    Args:
        bus: where the ids are subscribed.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._clients: dict[str, dict[Client, None]] = {}

    async def subscribe(self, socket_id: str) -> None:
        """Before a client with this id is taken in: no `disconnect` for it is missed after this.

        Returns as well when the bus does not answer in time: better to let the client in.
        """
        self._bus.subscribe(topics.exact(socket_id))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await subscribed(self._bus)
        except TimeoutError:
            log.warning("id topic not subscribed in time", socket_id=socket_id)
        except asyncio.CancelledError:  # the client will not be taken in
            self.unsubscribe(socket_id)
            raise

    def unsubscribe(self, socket_id: str) -> None:
        """Undo one `subscribe`."""
        self._bus.unsubscribe(topics.exact(socket_id))

    def add(self, client: Client) -> None:
        """A client is taken in, its id subscribed for it."""
        if client.id is not None:
            self._clients.setdefault(client.id, {})[client] = None

    def remove(self, client: Client) -> None:
        """It is gone."""
        if client.id is None:
            return
        same = self._clients[client.id]
        del same[client]
        if not same:
            del self._clients[client.id]
        self.unsubscribe(client.id)

    def clients(self, topic: str) -> list[Client]:
        """Those whose id it is."""
        return list(self._clients.get(topic, ()))
