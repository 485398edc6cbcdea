"""Probes through a newly connected proxy, at increasing intervals, until the first one comes back."""

import asyncio
from typing import Protocol

from mesh.bus.zeromq.proxy_connection import ProxyConnection

FIRST_SECONDS = 0.001


class Owner(Protocol):
    """Sends the probes."""

    def probe(self, topic: str, connection: ProxyConnection) -> int:
        """Publish a probe through one proxy; return its number."""


class FirstProbes:
    """The first probes of one connection.

    Args:
        owner: sends the probes.
        connection: the connection to the proxy.
        topic: the topic of the probes, which this node subscribed to for this purpose.
        last_seconds: the longest interval; the interval doubles up to this.
    """

    def __init__(self, owner: Owner, connection: ProxyConnection, topic: str, last_seconds: float) -> None:
        self._owner = owner
        self._connection = connection
        self._topic = topic
        self._interruptions = connection.interruptions
        self._seconds = FIRST_SECONDS
        self._last_seconds = last_seconds

    def send(self) -> None:
        """Send a probe, and schedule the next one, unless one has come back or the proxy is gone."""
        connection = self._connection
        gone = not connection.connected or connection.interruptions != self._interruptions
        if connection.answering or gone:
            return
        self._owner.probe(self._topic, connection)
        asyncio.get_running_loop().call_later(self._seconds, self.send)
        self._seconds = min(2 * self._seconds, self._last_seconds)
