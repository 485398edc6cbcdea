"""Who may connect: what every transport over HTTP asks before a client is taken in.

In Phoenix's order: origin, auth token, sub-protocols, connect info, vsn, the application's `connect`, `id`.
Source: Phoenix.Socket.Transport.
"""

import hmac
from base64 import b64decode
from collections.abc import Awaitable, Mapping
from typing import Any

from tornado.httputil import HTTPServerRequest, parse_cookie

from gateway.http.origin import OriginCheck
from gateway.http.params import decode_query
from gateway.transports.admission import Admitted, RefusedError, ask
from gateway.transports.upgrade_request import UpgradeRequest
from mesh.errors import RemoteProtocolError
from mesh.mount import Mount
from mesh.socket import ConnectInfo
from mesh.telemetry import get_logger

log = get_logger("gateway.handshake")

BEARER = "base64url.bearer.phx."
TRACE_HEADERS = ("traceparent", "tracestate")

Request = HTTPServerRequest | UpgradeRequest


class Handshake:
    """The checks of one mount and transport."""

    def __init__(self, mount: Mount, transport: str, origin: OriginCheck) -> None:
        self.mount = mount
        self._transport = transport
        self._origin = origin

    def check_origin(self, request: Request) -> None:
        """Raises RefusedError for a page of another site."""
        origin = request.headers.get("origin")
        if not self._origin.allows(origin, request.protocol, request.host):
            log.error("origin refused", origin=origin, path=request.path)
            raise RefusedError(403)

    async def admit(self, request: HTTPServerRequest, path_params: Mapping[str, str]) -> Admitted:
        """Ask everything. Raises RefusedError; what the application's own code raises goes through."""
        peer = request.connection.context.address  # type: ignore[union-attr]
        answer = self.ask(request, path_params, peer)
        return await answer if isinstance(answer, Awaitable) else answer

    def ask(
        self, request: Request, path_params: Mapping[str, str], peer: Any
    ) -> Admitted | Awaitable[Admitted]:
        """As `admit`; the answer is there at once unless the handler's `connect` has to be awaited."""
        self.check_origin(request)
        try:
            params = decode_query(request.query) | dict(path_params)
        except RemoteProtocolError as error:
            raise RefusedError(400, str(error)) from None
        token, offers = self._auth_token(request)
        subprotocol = self._subprotocol(offers)
        info = self._connect_info(request, params, token, peer)
        return ask(self.mount, info, params, subprotocol)

    def _auth_token(self, request: Request) -> tuple[str | None, list[str]]:
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
        self, request: Request, params: dict[str, Any], token: str | None, peer: Any
    ) -> ConnectInfo:
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

    def _session(self, request: Request, params: dict[str, Any]) -> Mapping[str, Any] | None:
        """Without the right CSRF token there is no session, and the connection goes on."""
        wanted = self.mount.session
        if wanted is None:
            return None
        cookie = parse_cookie(request.headers.get("cookie") or "").get(wanted.name)
        if cookie is None:
            return None
        session = wanted.load(cookie)
        if session is None or not wanted.check_csrf:
            return session
        given, own = params.get("_csrf_token"), session.get(wanted.csrf_key)
        if not isinstance(given, str) or not isinstance(own, str):
            return None
        return session if hmac.compare_digest(given.encode(), own.encode()) else None


def _decode_bearer(bearer: str) -> str:
    """phoenix.js sends `btoa(token)` without `=`: standard base64, whatever the prefix says."""
    text = bearer.removeprefix(BEARER).replace("-", "+").replace("_", "/")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except ValueError:  # not ASCII, not base64, not UTF-8
        log.warning("connection refused", reason="the auth token is not base64")
        raise RefusedError(500) from None


def _starting_with(prefix: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(prefix)}
