"""Connects a SUB to proxies again whose handshake has failed, and forgets proxies."""

import asyncio

import zmq

from mesh.bus.zeromq.connect_failures import CANNOT_CONNECT, ConnectFailures
from mesh.zeromq import sockets
from mesh.zeromq.curve import proxy_key

RECONNECT_SECONDS = 1.0
"""libzmq does not reconnect after a failed handshake. We do, after this time, with the current key."""


class Reconnects:
    """The connections of one SUB that are made again.

    Args:
        socket: the SUB.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures = ConnectFailures()

    def later(self, address: str, proxy: str) -> None:
        """Connect again after a while.

        Args:
            address: the address to which the SUB connects.
            proxy: the address of the proxy, as it is configured.
        """
        if address not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[address] = loop.call_later(RECONNECT_SECONDS, self._reconnect, address, proxy)

    def forget(self, address: str, proxy: str) -> None:
        """Disconnect from a proxy for good."""
        self._failures.forget(proxy)
        timer = self._timers.pop(address, None)
        if timer is not None:
            timer.cancel()
        self._disconnect(address)

    def close(self) -> None:
        """Connect no more."""
        for timer in self._timers.values():
            timer.cancel()

    def _reconnect(self, address: str, proxy: str) -> None:
        del self._timers[address]
        self._disconnect(address)
        try:
            sockets.connect(self._socket, address, proxy_key(self._socket, proxy))
        except CANNOT_CONNECT as error:
            self._failures.add(proxy, error)
            self.later(address, proxy)
        else:
            self._failures.forget(proxy)

    def _disconnect(self, address: str) -> None:
        try:
            self._socket.disconnect(address)
        except zmq.ZMQError:
            pass  # libzmq has removed it already
