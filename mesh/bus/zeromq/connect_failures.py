"""Logs proxies that cannot be connected to, without repetition."""

from collections.abc import Collection

import zmq

from mesh.errors import MeshError
from mesh.telemetry import get_logger

log = get_logger(__name__)

CANNOT_CONNECT = (MeshError, zmq.ZMQError, OSError)
"""For example a missing key or too many open files: both can be corrected while the node runs."""


class ConnectFailures:
    """The proxies that could not be connected to, and why. Each failure is logged as an error once."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def add(self, proxy: str, error: Exception) -> None:
        """Record a failed attempt; log it as an error if the proxy or the reason is new."""
        reason = str(error)
        line = log.debug if self._reasons.get(proxy) == reason else log.error
        self._reasons[proxy] = reason
        line("cannot connect to the proxy", proxy=proxy, reason=reason)

    def forget(self, proxy: str) -> None:
        """Remove a proxy that works, or that is not tried any more."""
        self._reasons.pop(proxy, None)

    def keep(self, proxies: Collection[str]) -> None:
        """Remove all other proxies."""
        self._reasons = {proxy: why for proxy, why in self._reasons.items() if proxy in proxies}
