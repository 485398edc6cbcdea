"""A node's own HTTP port for operators: /metrics, /healthz, /readyz. Off unless configured; loopback."""

from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from gateway.http.health import Checks, HealthHandler, MetricsHandler, ReadyHandler
from mesh.errors import NodeError
from mesh.settings import AdminSettings
from nodes import metrics


def health_routes(node: str, kind: str, checks: Callable[[], Checks]) -> list[tuple[Any, ...]]:
    """/healthz and /readyz, which a gateway answers on its clients' port too."""
    return [
        ("/healthz", HealthHandler, {"node": node, "kind": kind}),
        ("/readyz", ReadyHandler, {"checks": checks}),
    ]


class AdminServer:
    """Listens if the settings say so.

    Attributes:
        address: its URL, or empty.
    """

    def __init__(
        self,
        settings: AdminSettings,
        node: str,
        kind: str,
        checks: Callable[[], Checks],
        gauges: Callable[[], metrics.Gauges],
    ) -> None:
        self.address = ""
        self._server: HTTPServer | None = None
        if settings.port is None:
            return

        def all_gauges() -> metrics.Gauges:
            ready = not any(problem is not None for problem in checks().values())
            return {**gauges(), "ready": int(ready)}

        routes = health_routes(node, kind, checks)
        routes.append(("/metrics", MetricsHandler, {"registry": metrics.registry(all_gauges)}))
        try:
            sockets = bind_sockets(settings.port, settings.host)
        except OSError as error:
            raise NodeError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error};"
                " choose another admin.port"
            ) from None
        self._server = HTTPServer(Application(routes))
        self._server.add_sockets(sockets)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.address = f"http://{host}:{sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.stop()
