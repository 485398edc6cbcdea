"""The handlers for operators and load balancers: /healthz, /readyz, /metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from tornado.web import RequestHandler

Checks = dict[str, str | None]
"""By name of the check: what is wrong, or None."""


class HealthHandler(RequestHandler):
    """`/healthz`: 200 while the process answers at all."""

    BODIES = ()

    def initialize(self, node: str, kind: str) -> None:
        """Called by Tornado with the arguments of the route."""
        self._identity = {"node": node, "kind": kind}

    def get(self) -> None:
        """Answer 200, with the node's id and kind."""
        self.finish({"status": "ok", **self._identity})

    head = get


class ReadyHandler(RequestHandler):
    """`/readyz`: 200 if this node can do its work now, else 503 with what is wrong."""

    BODIES = ()

    def initialize(self, node: str, checks: Callable[[], Checks]) -> None:
        """Called by Tornado with the arguments of the route."""
        self._node = node
        self._checks = checks

    def get(self) -> None:
        """Answer whether the node is ready, and which checks fail."""
        checks = self._checks()
        wrong = {name: problem for name, problem in checks.items() if problem is not None}
        self.set_status(503 if wrong else 200)
        status = "not ready" if wrong else "ready"
        self.finish({"status": status, "node": self._node, "wrong": wrong, "checks": sorted(checks)})

    head = get


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
