"""Finds out which ZeroMQ clients are gone, after ZeroMQ has reported the end of a connection.

ZeroMQ does not report whose connection it was. Sending to a client that is gone fails with EHOSTUNREACH, so
each client is sent a PING. This is repeated, because the monitor may be faster than the socket: for a
moment, messages to a dead client are still accepted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from mesh.gateway.transports.zeromq.client import ZeroMQClient

PROBES_PER_TURN = 1_000
TURN_SECONDS = 0.005
"""The delay between two batches of one pass over all clients."""
AGAIN_SECONDS = (0.01, 0.1, 1.0)
"""The delays before the passes that follow the first."""


class Probes:
    """Probes the clients of a gateway.

    Args:
        clients: returns the current clients.
    """

    def __init__(self, clients: Callable[[], Iterable[ZeroMQClient]]) -> None:
        self._clients = clients
        self._loop = asyncio.get_running_loop()
        self._left: deque[ZeroMQClient] = deque()
        self._pauses: list[float] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Probe all clients after the end of a connection, and again after each delay."""
        self._pauses = list(AGAIN_SECONDS)
        if self._timer is None:
            self._pass()

    def close(self) -> None:
        """Stop probing."""
        self._left.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self) -> None:
        self._left = deque(self._clients())
        self._probe()

    def _probe(self) -> None:
        for _ in range(min(PROBES_PER_TURN, len(self._left))):
            self._left.popleft().probe()
        if self._left:
            self._timer = self._loop.call_later(TURN_SECONDS, self._probe)
        elif self._pauses:
            self._timer = self._loop.call_later(self._pauses.pop(0), self._pass)
        else:
            self._timer = None
