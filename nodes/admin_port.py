"""The HTTP server of a node's port for operators: /metrics, /healthz and /readyz.

Requests have the limits of a gateway's default settings.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from tornado.web import RequestHandler

from mesh.gateway.http.application import GatewayApplication
from mesh.gateway.http.bodies import Bodies
from mesh.gateway.http.health import ReadChecks, health_routes
from mesh.gateway.http.server import GatewayServer
from mesh.nodes.collector import registry
from mesh.nodes.metrics import Gauges, Routes
from mesh.settings import GatewaySettings


class MetricsHandler(RequestHandler):
    """`/metrics`: for Prometheus."""

    BODIES = ()

    def initialize(self, registry: CollectorRegistry) -> None:
        """Called by Tornado with the arguments of the route."""
        self._registry = registry

    def get(self) -> None:
        """Answer with all metrics, in Prometheus's text format."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(self._registry))


def make_server(
    node: str, kind: str, checks: ReadChecks, gauges: Callable[[], Gauges], by_route: Routes | None
) -> GatewayServer:
    """Return the server of a node; it does not listen yet."""
    routes = health_routes(node, kind, checks)
    routes.append(("/metrics", MetricsHandler, {"registry": registry(gauges, by_route)}))
    return GatewayServer(GatewayApplication(Bodies(0, 0), routes), settings=GatewaySettings())
