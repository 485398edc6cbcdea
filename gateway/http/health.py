"""The handlers for operators and load balancers: /healthz and /readyz."""

from collections.abc import Callable, Mapping
from typing import Any

from tornado.web import RequestHandler

ReadChecks = Callable[[], Mapping[str, str | None]]
"""Returns what is wrong, or None, by name of the check."""


def health_routes(node: str, kind: str, checks: ReadChecks) -> list[tuple[Any, ...]]:
    """Return the routes /healthz and /readyz of a node."""
    return [
        ("/healthz", HealthHandler, {"node": node, "kind": kind}),
        ("/readyz", ReadyHandler, {"node": node, "checks": checks}),
    ]


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

    def initialize(self, node: str, checks: ReadChecks) -> None:
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
