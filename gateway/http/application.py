"""The gateway's HTTP application: socket mounts, the application's own handlers, static files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import Application, RequestHandler

from mesh.app.endpoint import Endpoint
from mesh.errors import ApplicationError
from mesh.gateway.http import paths
from mesh.gateway.http.bodies import Bodies, ReadBodyDelegate, UnreadBodyDelegate, handles, takes_body
from mesh.gateway.http.head import HeadError
from mesh.gateway.http.methods import AllowHeader, remember_handler
from mesh.gateway.http.own_contexts import OwnContexts
from mesh.gateway.http.server import Connection, has_body
from mesh.gateway.http.static import StaticHandler

Routes = Sequence[tuple[Any, ...]]
"""(pattern that matches the whole path, handler, the handler's arguments)."""


def make_application(
    endpoint: Endpoint,
    transports: Routes,
    bodies: Bodies,
    api: Routes = (),
    own: Routes = (),
) -> Application:
    """Make the application. Order of routes: transports, API, application, own, static files.

    Raises:
        ApplicationError: if a static directory does not exist.
    """
    handlers = _by_segments(transports)
    handlers += _by_segments(api)
    handlers += endpoint.http
    handlers += _by_segments(own)
    # The longest prefix first, so that "/" does not hide the others.
    for prefix, directory in sorted(endpoint.static.items(), key=lambda each: -len(each[0])):
        handlers.append(_static(prefix, directory))
    return GatewayApplication(bodies, handlers, endpoint=endpoint)


class GatewayApplication(OwnContexts):
    """A Tornado application that reads a body only for a route that accepts one."""

    def __init__(self, bodies: Bodies, handlers: list[tuple[Any, ...]], **settings: Any) -> None:
        super().__init__(handlers, **settings)
        self.bodies = bodies
        self.transforms.append(AllowHeader)

    def get_handler_delegate(  # type: ignore[override]
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> HTTPMessageDelegate:
        """Return the delegate that receives the request and its body."""
        connection, method = request.connection, str(request.method)
        remember_handler(request, target_class)
        inner = super().get_handler_delegate(request, target_class, target_kwargs, path_args, path_kwargs)
        if not has_body(request.headers) or not isinstance(connection, Connection):
            return inner
        if not takes_body(target_class, method):
            error = HeadError(413, f"this path takes no body with {method}")
            refused = handles(target_class, method) and method in ("GET", "HEAD", "OPTIONS")
            return UnreadBodyDelegate(inner, connection, error if refused else None)
        if inner.stream_request_body:  # the handler limits what it keeps
            if not hasattr(target_class, "BODIES"):
                connection.set_max_body_size(self.bodies.max_bytes)
            return inner
        return ReadBodyDelegate(
            self,
            self.bodies,
            request,
            target_class,
            target_kwargs or {},
            path_args or [],
            path_kwargs or {},
        )


class PathSegments(Matcher):
    """Matches paths as Plug does: empty segments are ignored, escapes are decoded.

    Args:
        pattern: a pattern of the whole path, whose groups are the handler's arguments.
        decode: whether to decode the escapes in the arguments.
    """

    def __init__(self, pattern: str, decode: bool = True) -> None:
        self._pattern = re.compile(pattern)
        self._decode = decode

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return the handler's arguments, or None if the path does not match."""
        match = self._pattern.fullmatch(paths.normalize(request.path))
        if match is None:
            return None
        groups = {name: value or "" for name, value in match.groupdict().items()}
        arguments = {
            name: paths.unescape(value) if self._decode else value.encode()
            for name, value in groups.items()
        }
        return {"path_args": [], "path_kwargs": arguments}


def _by_segments(routes: Routes) -> list[tuple[Any, ...]]:
    return [(PathSegments(pattern), *rest) for pattern, *rest in routes]


def _static(prefix: str, directory: Path) -> tuple[Any, ...]:
    if not directory.is_dir():
        raise ApplicationError(f"static {prefix!r}: {directory} is not a directory")
    prefix = paths.normalize(prefix.encode().decode("latin-1")).rstrip("/")
    arguments = {"path": str(directory), "default_filename": "index.html", "well_known": not prefix}
    matcher = PathSegments(re.escape(prefix) + "(?:/(?P<path>.*))?", decode=False)
    return matcher, StaticHandler, arguments
