"""What the requests of the HTTP API have in common: refusals as JSON, and the methods of a path.

The body of a refusal is `{"error": "a sentence"}`.
"""

import re
from typing import Any

import msgspec
from tornado.web import RequestHandler

from mesh.app.endpoint import Endpoint
from mesh.errors import ApplicationError
from mesh.gateway.http.requests import RequestError
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)


class ApiHandler(RequestHandler):
    """The base of the API's handlers.

    Attributes:
        METHODS: the methods that the handler implements.
    """

    METHODS: tuple[str, ...] = ()

    def refuse(self, problem: RequestError) -> None:
        """Answer that the request is not carried out."""
        counters.count("api_requests_refused")
        log.info("request refused", status=problem.status, path=self.request.path, reason=str(problem))
        if problem.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        elif problem.status == 503:
            self.set_header("Retry-After", "1")
        self.answer(problem.status, _error(str(problem)))

    def refuse_key(self) -> None:
        """Answer that the request has no valid key."""
        self.refuse(RequestError(401, "want the header 'Authorization: Bearer KEY' with a valid key"))

    def answer(self, status: int, body: bytes) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer as JSON what Tornado refuses, such as another method."""
        want = ""
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.METHODS))
            want = f"; want {' or '.join(self.METHODS)}"
        self.answer(status_code, _error(self._reason + want))


def check_free(path: str, endpoint: Endpoint) -> None:
    """Raise ApplicationError if the application has its own handler for a path of the API."""
    for entry in endpoint.http:
        if isinstance(entry[0], str) and re.match(f"(?:{entry[0]})$", path):
            raise ApplicationError(
                f"the publishing API's {path} is taken by the application's own {entry[0]!r};"
                " set api.path (MESH_API__PATH) to another prefix"
            )


def _error(sentence: str) -> bytes:
    return msgspec.json.encode({"error": sentence})
