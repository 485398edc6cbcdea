"""Who may connect: what every transport over HTTP asks before a client is taken in.

In Phoenix's order: origin, auth token, sub-protocols, connect info, vsn, the application's `connect`, `id`.
Source: Phoenix.Socket.Transport.
"""

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Mapping
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
from tornado.httputil import HTTPServerRequest

from gateway.http.origin import OriginCheck
from gateway.http.params import decode_query
from mesh import telemetry, topics
from mesh.channel import Reply
from mesh.errors import MeshError, RemoteProtocolError, TopicError
from mesh.mount import Mount
from mesh.serializers.base import Serializer
from mesh.serializers.registry import DEFAULT_VSN, negotiate
from mesh.socket import ConnectInfo, SocketHandler
from mesh.telemetry import get_logger

log = get_logger("gateway.handshake")

MAX_ASSIGNS_BYTES = 100_000
BEARER = "base64url.bearer.phx."
TRACE_HEADERS = ("traceparent", "tracestate")


class RefusedError(MeshError):
    """The client is not taken in: HTTP status, and a sentence for the status 400."""

    def __init__(self, status: int, sentence: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Admitted(NamedTuple):
    """A client that may connect.

    Attributes:
        serializer: for its vsn and format.
        socket_id: what the handler's `id` returned.
        assigns: the handler's, as msgpack.
        subprotocol: to be answered, if any.
    """

    serializer: Serializer
    socket_id: str | None
    assigns: bytes
    subprotocol: str | None


class Handshake:
    """The checks of one mount and transport."""

    def __init__(self, mount: Mount, transport: str, origin: OriginCheck) -> None:
        self.mount = mount
        self._transport = transport
        self._origin = origin

    def check_origin(self, request: HTTPServerRequest) -> None:
        """Raises RefusedError for a page of another site."""
        origin = request.headers.get("origin")
        if not self._origin.allows(origin, request.protocol, request.host):
            log.error("origin refused", origin=origin, path=request.path)
            raise RefusedError(403)

    async def admit(self, request: HTTPServerRequest, path_params: Mapping[str, str]) -> Admitted:
        """Ask everything. Raises RefusedError; what the application's own code raises goes through."""
        self.check_origin(request)
        try:
            params = decode_query(request.query) | dict(path_params)
        except RemoteProtocolError as error:
            raise RefusedError(400, str(error)) from None
        token, offers = self._auth_token(request)
        subprotocol = self._subprotocol(offers)
        info = self._connect_info(request, params, token)
        try:
            serializer = negotiate(params.get("vsn", DEFAULT_VSN), params.get("format"))
        except RemoteProtocolError as error:
            log.warning("connection refused", reason=str(error))
            raise RefusedError(403) from None
        handler = self.mount.handler()
        started = perf_counter()
        accepted = await _connect(handler, params, info)
        if not accepted:
            self._tell(started, handler, serializer, None, params, "refused")
            raise RefusedError(403)
        try:
            socket_id = _check_id(handler)
            admitted = Admitted(serializer, socket_id, _encode_assigns(handler.assigns), subprotocol)
        except (TopicError, TypeError, ValueError, msgspec.MsgspecError) as error:
            log.warning("connection refused", handler=type(handler).__name__, reason=str(error))
            raise RefusedError(403) from None
        self._tell(started, handler, serializer, socket_id, params, "ok")
        return admitted

    def _tell(
        self,
        started: float,
        handler: SocketHandler,
        serializer: Serializer,
        socket_id: str | None,
        params: dict[str, Any],
        result: str,
    ) -> None:
        duration = perf_counter() - started
        metadata = {
            "handler": type(handler).__name__,
            "transport": self._transport,
            "serializer": serializer.name,
            "socket_id": socket_id,
        }
        if handler.log and telemetry.enabled(handler.log):
            getattr(log, handler.log)(
                "connected" if result == "ok" else "connection refused",
                **metadata,
                milliseconds=telemetry.milliseconds(duration),
                params=telemetry.filtered(params),
            )
        if telemetry.attached("socket_connected"):
            telemetry.emit("socket_connected", {"duration": duration}, {**metadata, "result": result})

    def _auth_token(self, request: HTTPServerRequest) -> tuple[str | None, list[str]]:
        """(phoenix.js's authToken, the sub-protocols offered beside it)."""
        header = ",".join(request.headers.get_list("sec-websocket-protocol"))
        offers = [each.strip() for each in header.split(",") if each.strip()]
        if not self.mount.auth_token:
            return None, offers
        if self._transport == "longpoll":
            return request.headers.get("x-phoenix-authtoken"), offers
        bearers = [each for each in offers if each.startswith(BEARER)]
        if len(bearers) != 1:
            return None, offers
        return _decode_bearer(bearers[0]), [each for each in offers if each != bearers[0]]

    def _subprotocol(self, offers: list[str]) -> str | None:
        wanted = self.mount.subprotocols
        if not wanted or not offers:
            return None
        common = next((each for each in wanted if each in offers), None)
        if common is None:
            log.error("sub-protocols refused", offered=offers[:10], wanted=list(wanted))
            raise RefusedError(403)
        return common

    def _connect_info(
        self, request: HTTPServerRequest, params: dict[str, Any], token: str | None
    ) -> ConnectInfo:
        peer = request.connection.context.address  # type: ignore[union-attr]
        headers = {name.lower(): value for name, value in request.headers.get_all()}
        return ConnectInfo(
            transport=self._transport,
            peer=peer[:2] if isinstance(peer, tuple) else None,
            uri=request.full_url(),
            user_agent=headers.get("user-agent"),
            x_headers=_starting_with("x-", headers),
            trace_context={name: headers[name] for name in TRACE_HEADERS if name in headers},
            sec_websocket_headers=_starting_with("sec-websocket-", headers),
            auth_token=token,
            session=self._session(request, params),
            extra=self.mount.connect_info,
        )

    def _session(self, request: HTTPServerRequest, params: dict[str, Any]) -> Mapping[str, Any] | None:
        """Without the right CSRF token there is no session, and the connection goes on."""
        wanted = self.mount.session
        cookie = request.cookies.get(wanted.name) if wanted is not None else None
        if wanted is None or cookie is None:
            return None
        session = wanted.load(cookie.value)
        if session is None or not wanted.check_csrf:
            return session
        given, own = params.get("_csrf_token"), session.get(wanted.csrf_key)
        if not isinstance(given, str) or not isinstance(own, str):
            return None
        return session if hmac.compare_digest(given.encode(), own.encode()) else None


async def _connect(handler: SocketHandler, params: dict[str, Any], info: ConnectInfo) -> bool:
    """Whether the application accepts. An exception in it is a 500, as in Phoenix."""
    result = handler.connect(params, info)
    if isinstance(result, Awaitable):
        result = await result
    if result is False or (isinstance(result, Reply) and result.status == "error"):
        return False
    if result is not None and result is not True:
        log.error(
            "connect returned neither None, True, False nor refuse()",
            handler=type(handler).__name__,
            returned=repr(result)[:100],
        )
        return False
    return True


def _decode_bearer(bearer: str) -> str:
    """phoenix.js sends `btoa(token)` without `=`: standard base64, whatever the prefix says."""
    text = bearer.removeprefix(BEARER).replace("-", "+").replace("_", "/")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except (Base64Error, UnicodeDecodeError):
        log.warning("connection refused", reason="the auth token is not base64")
        raise RefusedError(500) from None


def _starting_with(prefix: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(prefix)}


def _check_id(handler: SocketHandler) -> str | None:
    socket_id = handler.id()
    return None if socket_id is None else topics.check(socket_id)


def _encode_assigns(assigns: dict[str, Any]) -> bytes:
    encoded = msgspec.msgpack.encode(assigns)
    if len(encoded) > MAX_ASSIGNS_BYTES:
        raise ValueError(
            f"assigns of {len(encoded)} bytes; every join carries them, so {MAX_ASSIGNS_BYTES} are allowed"
        )
    return encoded
