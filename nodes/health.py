"""Checks whether a node is ready, which means that the bus delivers.

A probe makes a round trip through the proxy every second; a node is ready only while probes come back.
"""

import asyncio

from mesh.bus.contract import Bus
from mesh.bus.discovery.announcements import Announcer

PROBE_SECONDS = 1.0

Checks = dict[str, str | None]
"""By name of the check: what is wrong, or None."""


class Prober:
    """Probes the bus, and measures the event loop's lag.

    Attributes:
        lag_seconds: how late the last probe was started, because the event loop was busy.
    """

    def __init__(self, bus: Bus, announcer: Announcer, ready_seconds: float) -> None:
        self.lag_seconds = 0.0
        self._draining = False
        self._bus = bus
        self._announcer = announcer
        self._ready_seconds = ready_seconds
        self._loop = asyncio.get_running_loop()
        self._last_echo: float | None = None
        self._probe_pending = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Probe now, and every second."""
        self._probe(self._loop.time())

    def drain(self) -> None:
        """From now on `checks` says that the node stops and accepts no more work."""
        self._draining = True

    def close(self) -> None:
        """Stop probing."""
        if self._timer is not None:
            self._timer.cancel()

    def checks(self) -> Checks:
        """Return what is wrong with the bus, and whether the node is draining."""
        return {
            "bus": self._bus_problem(),
            "proxies": self._proxy_problem(),
            "draining": "this node is stopping" if self._draining else None,
        }

    def _bus_problem(self) -> str | None:
        if self._last_echo is None:
            return "no probe has come back through the proxy yet"
        silence = self._loop.time() - self._last_echo
        # The last probe is up to a second old even when all is well.
        if silence > self._ready_seconds + PROBE_SECONDS:
            return f"no probe has come back through the proxy for {silence:.1f} seconds"
        return None

    def _proxy_problem(self) -> str | None:
        unreceived = self._announcer.unreceived_proxies()
        if not unreceived:
            return None
        nodes = (f"{node} through {', '.join(sorted(unreceived[node]))}" for node in sorted(unreceived))
        return f"nodes publish through proxies to which this node is not connected: {'; '.join(nodes)}"

    def _probe(self, due: float) -> None:
        now = self._loop.time()
        self.lag_seconds = now - due
        if not self._probe_pending:
            self._probe_pending = True
            self._bus.when_subscribed(self._echo)
        self._timer = self._loop.call_later(PROBE_SECONDS, self._probe, now + PROBE_SECONDS)

    def _echo(self) -> None:
        self._probe_pending = False
        self._last_echo = self._loop.time()
