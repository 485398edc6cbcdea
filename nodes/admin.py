"""A node's HTTP port for operators, with /metrics, /healthz and /readyz, and its stall monitor.

The port is off unless configured, and on loopback by default. Requests have the limits of a gateway's
default settings. The monitor also logs without the port.
"""

from collections.abc import Callable
from typing import Any

from gateway.http.application import GatewayApplication
from gateway.http.bodies import Bodies
from gateway.http.health import Checks, HealthHandler, MetricsHandler, ReadyHandler
from gateway.http.server import GatewayServer
from mesh.settings import AdminSettings, GatewaySettings
from nodes import listening, metrics
from nodes.stalls import StallMonitor


def health_routes(node: str, kind: str, checks: Callable[[], Checks]) -> list[tuple[Any, ...]]:
    """Return the routes /healthz and /readyz, which a gateway also serves on its clients' port."""
    return [
        ("/healthz", HealthHandler, {"node": node, "kind": kind}),
        ("/readyz", ReadyHandler, {"node": node, "checks": checks}),
    ]


class AdminServer:
    """Watches the event loop, and listens if `admin.port` is set.

    Attributes:
        address: the URL of the port; empty without one.
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
        self._server: GatewayServer | None = None
        self._stalls = StallMonitor(settings.stall_warning_seconds)
        if settings.port is not None:
            self._listen(settings, settings.port, node, kind, checks, gauges, by_route)
        self._stalls.start()

    def _listen(
        self,
        settings: AdminSettings,
        port: int,
        node: str,
        kind: str,
        checks: Callable[[], Checks],
        gauges: Callable[[], metrics.Gauges],
        by_route: metrics.Routes | None,
    ) -> None:

        def all_gauges() -> metrics.Gauges:
            ready = not any(problem is not None for problem in checks().values())
            stalls = {
                "loop_stall_seconds": self._stalls.take_worst(),
                "loop_stall_cpu_seconds": self._stalls.take_worst_cpu(),
            }
            return {**gauges(), **stalls, "ready": int(ready)}

        routes = health_routes(node, kind, checks)
        routes.append(("/metrics", MetricsHandler, {"registry": metrics.registry(all_gauges, by_route)}))
        sockets = listening.listen(settings.host, port, setting="admin.port")
        application = GatewayApplication(Bodies(0, 0), routes)
        self._server = GatewayServer(application, settings=GatewaySettings())
        self._server.add_sockets(sockets)
        self.address = listening.url("http", settings.host[0], sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening and watching."""
        self._stalls.close()
        if self._server is not None:
            self._server.stop()
