"""Stops reading from the clients of workers that are behind, until those have caught up.

A worker is behind while too much waits on the link to it; the link reports this (mesh/link/batches.py).
"""

from collections.abc import Mapping

from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.flow.read_pauses import ReadPauses
from mesh.telemetry import get_logger

log = get_logger(__name__)


class WorkersBehind:
    """The workers that are behind.

    Args:
        channels: all channels of this gateway, by number.
        read_pauses: pauses the clients.
    """

    def __init__(self, channels: Mapping[int, GatewayChannel], read_pauses: ReadPauses) -> None:
        self._channels = channels
        self._read_pauses = read_pauses
        self._workers: set[str] = set()

    def changed(self, worker: str, behind: bool) -> None:
        """Note that a worker is behind, or that it has caught up."""
        if not behind:
            self.forget(worker)
            return
        log.warning("worker is behind: reading from its clients is paused", worker=worker)
        self._workers.add(worker)
        for client in {each.client for each in self._channels.values() if each.worker == worker}:
            self._read_pauses.pause(client, ("link", worker))

    def placed(self, channel: GatewayChannel, worker: str) -> None:
        """Note a channel whose JOIN was sent to a worker."""
        if worker in self._workers:
            self._read_pauses.pause(channel.client, ("link", worker))

    def forget(self, worker: str) -> None:
        """Read from the clients of a worker again: it has caught up, or it is gone."""
        self._workers.discard(worker)
        self._read_pauses.resume_all(("link", worker))
