"""Finds out which ZeroMQ clients are gone, after ZeroMQ has reported the end of a connection.

ZeroMQ does not report whose connection it was. Sending to a client that is gone fails with EHOSTUNREACH, so
each client is sent a PING. This is repeated, because the monitor may be faster than the socket: for a
moment, messages to a dead client are still accepted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from mesh.gateway.transports.zeromq.client import ZeroMQClient

PROBES_PER_BATCH = 1_000
BATCH_DELAY_SECONDS = 0.005
"""The delay between two batches of one pass over all clients."""
REPEAT_DELAYS_SECONDS = (0.01, 0.1, 1.0)
"""The delays before the passes that follow the first."""


class Probes:
    """Probes the clients of a gateway.

    Args:
        clients: returns the current clients.
    """

    def __init__(self, clients: Callable[[], Iterable[ZeroMQClient]]) -> None:
        self._clients = clients
        self._loop = asyncio.get_running_loop()
        self._remaining: deque[ZeroMQClient] = deque()
        self._delays: list[float] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Probe all clients after the end of a connection, and again after each delay."""
        self._delays = list(REPEAT_DELAYS_SECONDS)
        if self._timer is None:
            self._pass()

    def close(self) -> None:
        """Stop probing."""
        self._remaining.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self) -> None:
        self._remaining = deque(self._clients())
        self._probe()

    def _probe(self) -> None:
        for _ in range(min(PROBES_PER_BATCH, len(self._remaining))):
            self._remaining.popleft().probe()
        if self._remaining:
            self._timer = self._loop.call_later(BATCH_DELAY_SECONDS, self._probe)
        elif self._delays:
            self._timer = self._loop.call_later(self._delays.pop(0), self._pass)
        else:
            self._timer = None
