"""Closes the clients of a stopping gateway in batches, so that they do not all reconnect at the same time.

Source: Phoenix.Socket.PoolDrainer. Batches count connections, not channels, and include connections without
channels.
"""

import asyncio

from mesh import telemetry
from mesh.errors import CloseCode
from mesh.gateway.hub import Hub
from mesh.settings import DrainSettings
from mesh.telemetry import get_logger

log = get_logger(__name__)


async def drain(hub: Hub, settings: DrainSettings) -> None:
    """Close every client with 1012 (service restart); its channels end with the reason "draining"."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.shutdown_seconds
    total, closed, index = len(hub.clients), 0, 0
    while hub.clients:
        out_of_time = loop.time() + settings.interval_seconds > deadline
        batch = list(hub.clients)[: None if out_of_time else settings.batch_size]
        for client in batch:
            client.transport.close(CloseCode.SERVICE_RESTART, "draining")
            hub.disconnected(client, "draining")
        closed += len(batch)
        log.info("draining", connections=closed, total=total)
        index += 1
        rounds = -(-total // settings.batch_size)
        measurements = {"count": len(batch), "total": total, "index": index, "rounds": rounds}
        telemetry.emit("socket_drain", measurements, {})
        if hub.clients:
            await asyncio.sleep(settings.interval_seconds)
