"""The gateway's HTTP application: socket mounts, the application's own handlers, static files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tornado.web import Application, StaticFileHandler

from gateway.http import publish
from gateway.http.origin import OriginCheck
from gateway.http.publish import PublishApi
from gateway.transports.connection import WebSockets
from gateway.transports.handshake import Handshake
from gateway.transports.longpoll import LongPoll, LongPollHandler
from gateway.transports.websocket import WebSocketHandler
from mesh.endpoint import Endpoint
from mesh.errors import ApplicationError
from mesh.mount import path_pattern
from mesh.settings import GatewaySettings


def make_application(
    endpoint: Endpoint,
    websockets: WebSockets,
    longpoll: LongPoll,
    settings: GatewaySettings,
    api: PublishApi | None = None,
    own: Sequence[tuple[Any, ...]] = (),
) -> Application:
    """Routes, in this order: sockets, publishing API, the application's, our `own`, static files; then 404.

    Raises:
        ApplicationError: if a static directory does not exist, or a handler hides the publishing API.
    """
    handlers: list[tuple[Any, ...]] = []
    given: dict[str, Any]
    for handshake in handshakes(endpoint, "websocket", settings):
        given = {"websockets": websockets, "handshake": handshake}
        handlers.append((path_pattern(handshake.mount.path) + "/websocket", WebSocketHandler, given))
    for handshake in handshakes(endpoint, "longpoll", settings):
        given = {"longpoll": longpoll, "handshake": handshake}
        handlers.append((path_pattern(handshake.mount.path) + "/longpoll", LongPollHandler, given))
    if api is not None:
        handlers += publish.routes(api, endpoint)
    handlers += endpoint.http
    handlers += own
    # The longest prefix first, so that "/" does not hide the others.
    for prefix, directory in sorted(endpoint.static.items(), key=lambda each: -len(each[0])):
        handlers.append(_static(prefix, directory))
    return Application(handlers, endpoint=endpoint)


def handshakes(
    endpoint: Endpoint, transport: Literal["websocket", "longpoll"], settings: GatewaySettings
) -> list[Handshake]:
    """Of the mounts that can be reached by a transport, in the order in which they were declared."""
    found = []
    for mount in endpoint.mounts.values():
        if getattr(mount, transport):
            rule = endpoint.check_origin if mount.check_origin is None else mount.check_origin
            found.append(Handshake(mount, transport, OriginCheck(rule, settings.url_host)))
    return found


def _static(prefix: str, directory: Path) -> tuple[Any, ...]:
    if not directory.is_dir():
        raise ApplicationError(f"static {prefix!r}: {directory} is not a directory")
    pattern = re.escape(prefix.rstrip("/")) + "/(.*)"
    arguments = {"path": str(directory), "default_filename": "index.html"}
    return pattern, StaticFileHandler, arguments
