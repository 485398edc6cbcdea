"""What is logged of proxies that cannot be connected to."""

from collections.abc import Collection

import zmq

from mesh.errors import MeshError
from mesh.telemetry import get_logger

log = get_logger("mesh.bus")

CANNOT_CONNECT = (MeshError, zmq.ZMQError, OSError)
"""For example a missing key, or too many open files: both may be remedied while the node runs."""


class ConnectFailures:
    """Which proxies could not be connected to, and why: an error in the log once, not at each try."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def add(self, proxy: str, error: Exception) -> None:
        """A try has failed; an error if that is news, or the reason is."""
        reason = str(error)
        line = log.debug if self._reasons.get(proxy) == reason else log.error
        self._reasons[proxy] = reason
        line("cannot connect to the proxy", proxy=proxy, reason=reason)

    def forget(self, proxy: str) -> None:
        """It works, or is not tried any more."""
        self._reasons.pop(proxy, None)

    def keep(self, proxies: Collection[str]) -> None:
        """Only these are still tried."""
        self._reasons = {proxy: why for proxy, why in self._reasons.items() if proxy in proxies}
