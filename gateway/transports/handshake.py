"""The checks of every transport over HTTP before it accepts a client.

In Phoenix's order: origin, auth token, sub-protocols, connect info, vsn, the application's `connect`, `id`.
Source: Phoenix.Socket.Transport.
"""

import hmac
import re
from base64 import b64decode
from collections.abc import Awaitable, Mapping
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from mesh.app.endpoint import Endpoint
from mesh.app.mount import Mount, SessionCookie, path_pattern
from mesh.app.socket_handler import ConnectInfo
from mesh.errors import RemoteProtocolError
from mesh.gateway.http import cookies
from mesh.gateway.http.forwarded import OriginalRequest, TrustedProxies
from mesh.gateway.http.origin import OriginCheck
from mesh.gateway.http.params import decode_header, decode_path_params, decode_query
from mesh.gateway.http.paths import normalize
from mesh.gateway.http.proxy_protocol import peer_address
from mesh.gateway.http.upgrade_request import UpgradeRequest
from mesh.gateway.transports.admission import Admitted, RefusedError, call_connect, in_own_context
from mesh.settings import GatewaySettings
from mesh.telemetry import counters, get_logger, hide_in_path

log = get_logger(__name__)

BEARER = "base64url.bearer.phx."
TRACE_HEADERS = ("traceparent", "tracestate")

Request = HTTPServerRequest | UpgradeRequest


class Handshake:
    """The checks of one mount and transport.

    Args:
        mount: the mount that the client connects to.
        transport: the transport's name, which is the last segment of the path.
        origin: checks which pages may connect.
        trusted: the proxies that may name the client.

    Attributes:
        mount: the mount.
        path: matches the paths of its requests.
    """

    def __init__(
        self,
        mount: Mount,
        transport: str,
        origin: OriginCheck,
        trusted: TrustedProxies | None = None,
    ) -> None:
        self.mount = mount
        self._transport = transport
        self._origin = origin
        self._trusted = trusted or TrustedProxies([])
        self.path = re.compile(path_pattern(mount.path) + "/" + transport)

    def original_request(self, request: Request, peer: Any) -> OriginalRequest:
        """Return the request as its client sent it, according to trusted proxies."""
        address = peer_address(peer)
        if not self._trusted and self._origin.rule != "conn":
            return OriginalRequest(request.protocol, request.host, address, "")
        return self._trusted.original_request(request.headers, request.protocol, request.host, address)

    def check_origin(self, request: Request, original: OriginalRequest | None = None) -> None:
        """Raise RefusedError for a page whose origin is not allowed."""
        origin = request.headers.get("origin")
        if origin is None:
            return
        if original is None:
            address = request.connection.context.address  # type: ignore[union-attr]
            original = self.original_request(request, address)
        if not self._origin.allows(origin, original.scheme, original.host):
            log.error(
                "origin refused",
                origin=origin,
                path=request.path,
                **self._origin.log_fields(original.scheme, original.host, original.source),
            )
            raise RefusedError(403)

    def params(self, request: Request) -> dict[str, Any]:
        """Return the parameters of the query and the path. Raises RefusedError if they are malformed."""
        match = self.path.fullmatch(normalize(request.path))
        try:
            params = decode_query(request.query)
            return params if match is None else params | decode_path_params(match.groupdict())
        except RemoteProtocolError as error:
            raise RefusedError(400, str(error)) from None

    async def admit(self, request: HTTPServerRequest) -> Admitted:
        """Run all checks. Raises RefusedError."""
        answer = self.run(request, request.connection.context.address)  # type: ignore[union-attr]
        return await answer if isinstance(answer, Awaitable) else answer

    def run(self, request: Request, peer: Any) -> Admitted | Awaitable[Admitted]:
        """As `admit`; returns the result itself unless the handler's `connect` must be awaited."""
        return in_own_context(self._run, request, peer)

    def _run(self, request: Request, peer: Any) -> Admitted | Awaitable[Admitted]:
        original = self.original_request(request, peer)
        self.check_origin(request, original)
        params = self.params(request)
        token, offers = self._auth_token(request)
        subprotocol = self._subprotocol(offers)
        info = self._connect_info(request, params, token, original)
        return call_connect(self.mount, info, params, subprotocol)

    def _auth_token(self, request: Request) -> tuple[str | None, list[str]]:
        """Return (phoenix.js's authToken or None, the other sub-protocols offered)."""
        header = ",".join(request.headers.get_list("sec-websocket-protocol"))
        offers = [each.strip() for each in header.split(",") if each.strip()]
        if not self.mount.auth_token:
            return None, offers
        if self._transport != "websocket":  # scripts can set headers on all other requests
            header_token = request.headers.get("x-phoenix-authtoken")
            return None if header_token is None else decode_header(header_token), offers
        bearers = [each for each in offers if each.startswith(BEARER)]
        if len(bearers) != 1:
            return None, offers
        return _decode_bearer(bearers[0]), [each for each in offers if each != bearers[0]]

    def _subprotocol(self, offers: list[str]) -> str | None:
        supported = self.mount.subprotocols
        if not supported or not offers:
            return None
        common = next((each for each in supported if each in offers), None)
        if common is None:
            log.error("sub-protocols refused", offered=offers[:10], wanted=list(supported))
            raise RefusedError(403)
        return common

    def _connect_info(
        self, request: Request, params: dict[str, Any], token: str | None, original: OriginalRequest
    ) -> ConnectInfo:
        headers = {name.lower(): decode_header(value) for name, value in request.headers.get_all()}
        return ConnectInfo(
            transport=self._transport,
            peer=original.peer,
            uri=f"{original.scheme}://{original.host}{decode_header(request.uri or '')}",
            user_agent=headers.get("user-agent"),
            x_headers=_starting_with("x-", headers),
            trace_context={name: headers[name] for name in TRACE_HEADERS if name in headers},
            sec_websocket_headers=_starting_with("sec-websocket-", headers),
            auth_token=token,
            session=self._session(request, params),
            extra=self.mount.connect_info,
        )

    def _session(self, request: Request, params: dict[str, Any]) -> Mapping[str, Any] | None:
        """Return the session, or None without the right CSRF token; the client may still connect."""
        session_cookie = self.mount.session
        if session_cookie is None:
            return None
        for cookie in cookies.candidates(request.headers.get_list("cookie"), session_cookie.name):
            session = _load(session_cookie, cookie)
            if session is not None and (
                not session_cookie.check_csrf
                or _csrf_token_matches(session.get(session_cookie.csrf_key), params)
            ):
                return session
        return None


def handshakes(endpoint: Endpoint, transport: str, settings: GatewaySettings) -> list[Handshake]:
    """Return the handshakes of the mounts that offer a transport, in the order of declaration.

    A mount has an option for each transport that needs one (`websocket`, `longpoll`); it always offers the
    others.
    """
    found = []
    trusted = TrustedProxies(settings.trusted_proxies, _malformed_header)
    for mount in endpoint.mounts.values():
        if getattr(mount, transport, True):
            hide_in_path(f"{mount.path}/{transport}")
            rule = endpoint.check_origin if mount.check_origin is None else mount.check_origin
            found.append(Handshake(mount, transport, OriginCheck(rule, settings.url_host), trusted))
    return found


def _malformed_header(header: str, value: str) -> None:
    """Count and log a malformed header of a trusted proxy, which is ignored."""
    counters.count("forwarded_headers_malformed")
    log.warning("header of a proxy ignored, because it is malformed", header=header, value=value)


def undecoded(_handler: RequestHandler, value: bytes, name: str | None = None) -> str:
    """Replaces Tornado's `decode_argument`, because the handshake reads the path variables itself."""
    return value.decode("latin-1")


def _load(session_cookie: SessionCookie, cookie: str) -> Mapping[str, Any] | None:
    """Load a session; None if `load` fails, because the cookie may be another application's."""
    name = session_cookie.name
    try:
        session: object = session_cookie.load(cookie)
    except Exception as error:
        log.error("session cookie not read: `load` raised", cookie=name, error=type(error).__name__)
        return None
    if session is None or isinstance(session, Mapping):
        return session
    log.error("session cookie not read: want a mapping", cookie=name, returned=type(session).__name__)
    return None


def _csrf_token_matches(own: object, params: dict[str, Any]) -> bool:
    given = params.get("_csrf_token")
    if not isinstance(given, str) or not isinstance(own, str):
        return False
    return hmac.compare_digest(given.encode(), own.encode("utf-8", "surrogatepass"))


def _decode_bearer(bearer: str) -> str:
    """Decode the token. phoenix.js sends `btoa(token)` without `=`: standard base64, despite the prefix."""
    text = bearer.removeprefix(BEARER).replace("-", "+").replace("_", "/")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except ValueError:  # not ASCII, not base64, not UTF-8
        log.warning("connection refused", reason="the auth token is not base64")
        raise RefusedError(500) from None


def _starting_with(prefix: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(prefix)}
