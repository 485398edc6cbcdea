"""A node's HTTP port for operators, with /metrics, /healthz and /readyz, and its stall monitor.

The port is off unless configured, and on loopback by default. The monitor also logs without the port.
"""

from collections.abc import Callable

from mesh.nodes import listening, metrics
from mesh.nodes.health import Checks
from mesh.nodes.runtime.stalls import StallMonitor
from mesh.settings import AdminSettings


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
        self._server = None
        if settings.port is not None:
            # Here, because Tornado and prometheus_client take a fifth of the CPU time of a worker's start.
            from mesh.nodes import admin_port

            self._server = admin_port.make_server(node, kind, checks, self._all_gauges, by_route)

    def start(self) -> None:
        """Listen, and watch the event loop.

        Raises:
            NodeError: if the port is in use.
        """
        settings = self._settings
        if self._server is not None and settings.port is not None:
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
        if self._server is not None:
            self._server.stop()
