"""A node's HTTP port for operators, with /metrics, /healthz and /readyz, and its stall monitor.

The port is off unless configured, and on loopback by default. Requests have the limits of a gateway's
default settings. The monitor also logs without the port.
"""

from collections.abc import Callable
from typing import Any

from mesh.gateway.http.application import GatewayApplication
from mesh.gateway.http.bodies import Bodies
from mesh.gateway.http.health import Checks, HealthHandler, MetricsHandler, ReadyHandler
from mesh.gateway.http.server import GatewayServer
from mesh.nodes import listening, metrics
from mesh.nodes.runtime.stalls import StallMonitor
from mesh.settings import AdminSettings, GatewaySettings


def health_routes(node: str, kind: str, checks: Callable[[], Checks]) -> list[tuple[Any, ...]]:
    """Return the routes /healthz and /readyz, which a gateway also serves on its clients' port."""
    return [
        ("/healthz", HealthHandler, {"node": node, "kind": kind}),
        ("/readyz", ReadyHandler, {"node": node, "checks": checks}),
    ]


class AdminServer:
    """Watches the event loop, and listens if `admin.port` is set.

    Args:
        settings: the port and its host.
        node: the node's id.
        kind: of the node.
        checks: returns the checks of `/readyz`.
        gauges: returns the node's own values for `/metrics`.
        by_route: returns the delivery statistics of a gateway.

    Attributes:
        address: the URL of the port; empty without one, and before `start`.
    """

    def __init__(
        self,
        settings: AdminSettings,
        node: str,
        kind: str,
        checks: Callable[[], Checks],
        gauges: Callable[[], metrics.Gauges],
        by_route: metrics.Routes | None = None,
    ) -> None:
        self.address = ""
        self._settings = settings
        self._checks = checks
        self._gauges = gauges
        self._stalls = StallMonitor(settings.stall_warning_seconds)
        routes = health_routes(node, kind, checks)
        registry = metrics.registry(self._all_gauges, by_route)
        routes.append(("/metrics", MetricsHandler, {"registry": registry}))
        self._server = GatewayServer(GatewayApplication(Bodies(0, 0), routes), settings=GatewaySettings())

    def start(self) -> None:
        """Listen, and watch the event loop.

        Raises:
            NodeError: if the port is in use.
        """
        settings = self._settings
        if settings.port is not None:
            sockets = listening.listen(settings.host, settings.port, setting="admin.port")
            self._server.add_sockets(sockets)
            self.address = listening.url("http", settings.host[0], sockets[0].getsockname()[1])
        self._stalls.start()

    def _all_gauges(self) -> metrics.Gauges:
        ready = not any(problem is not None for problem in self._checks().values())
        stalls = {
            "loop_stall_seconds": self._stalls.take_worst(),
            "loop_stall_cpu_seconds": self._stalls.take_worst_cpu(),
        }
        return {**self._gauges(), **stalls, "ready": int(ready)}

    def close(self) -> None:
        """Stop listening and watching."""
        self._stalls.close()
        self._server.stop()
