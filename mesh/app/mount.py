"""Mount: a socket handler at a path, its transports, and what `connect` learns about the request."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh.app.channel import Channel
from mesh.app.routes import RouteTable
from mesh.app.socket_handler import SocketHandler
from mesh.errors import ApplicationError

CheckOrigin = bool | str | Sequence[str] | Callable[[str], bool]

_MOUNT = re.compile(r"(/[A-Za-z0-9_.~-]+|/:[A-Za-z_][A-Za-z0-9_]*)+\Z")
_VARIABLE = re.compile(r"/:([A-Za-z_][A-Za-z0-9_]*)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 §5.6.2


@dataclass(frozen=True)
class SessionCookie:
    """How to read the session of the web application that served the page.

    The session is read only if the request has a `_csrf_token` parameter that equals the token in the
    session: a connection from a foreign page also sends the cookie, but does not know the token.

    Attributes:
        name: the name of the cookie.
        load: decodes the cookie; returns the session, or None if it is invalid. `mesh.session_cookies` has
            two.
        csrf_key: the key of the token in the session.
        check_csrf: if False, the session is read for every page that passes the origin check.
    """

    name: str
    load: Callable[[str], Mapping[str, Any] | None]
    csrf_key: str = "_csrf_token"
    check_csrf: bool = True


class Mount:
    """A socket handler with the options of one path.

        endpoint = Endpoint({"/socket": Mount(UserSocket, longpoll=True)})

    Args:
        handler: the SocketHandler class.
        websocket: whether `<path>/websocket` is served.
        longpoll: whether `<path>/longpoll` is served, phoenix.js's fallback.
        zeromq: whether clients may connect to it over plain ZeroMQ, if the gateway listens for them.
        auth_token: pass phoenix.js's `authToken`, from Sec-WebSocket-Protocol or (long-poll)
            X-Phoenix-AuthToken, to `connect` as `info.auth_token`.
        subprotocols: if a client offers sub-protocols, one must be among these; the first one is selected.
        check_origin: overrides the endpoint's.
        session: how to read `info.session`.
        connect_info: additional contents of `info.extra`.

    Attributes:
        path: "/socket", or with variables "/socket/:tenant"; set by the endpoint.
        pattern: the regular expression of the path, with the variables as groups.
        routes: the route table of the handler.

    Raises:
        ApplicationError: for invalid options.
    """

    def __init__(
        self,
        handler: type[SocketHandler],
        *,
        websocket: bool = True,
        longpoll: bool = False,
        zeromq: bool = True,
        auth_token: bool = False,
        subprotocols: Sequence[str] = (),
        check_origin: CheckOrigin | None = None,
        session: SessionCookie | None = None,
        connect_info: Mapping[str, Any] | None = None,
    ) -> None:
        if not (isinstance(handler, type) and issubclass(handler, SocketHandler)):
            raise ApplicationError(f"{handler!r} is not a SocketHandler class")
        if not websocket and not longpoll:
            raise ApplicationError(f"{handler.__name__} is mounted without any transport")
        if check_origin is False and session is not None and not session.check_csrf:
            raise ApplicationError(
                f"{handler.__name__}: check_origin and check_csrf are both off: any web page could"
                " read its visitors' sessions; leave one of them on"
            )
        for each in subprotocols:
            if isinstance(subprotocols, str) or not isinstance(each, str) or not _TOKEN.match(each):
                raise ApplicationError(
                    f"{handler.__name__}: subprotocols is {subprotocols!r}; want a list of tokens"
                    " (RFC 9110 §5.6.2)"
                )
        self.path = ""
        self.pattern = re.compile("")
        self.handler = handler
        self.routes: RouteTable[type[Channel]] = handler.routes()
        self.websocket = websocket
        self.longpoll = longpoll
        self.zeromq = zeromq
        self.auth_token = auth_token
        # Phoenix.Socket.Transport: with auth_token, browsers require the answer "phoenix".
        self.subprotocols = ("phoenix", *subprotocols) if auth_token else tuple(subprotocols)
        self.check_origin = check_origin
        self.session = session
        self.connect_info = dict(connect_info or {})

    def at(self, path: str) -> "Mount":
        """Return this mount at a path. Raises ApplicationError for an invalid path."""
        if not isinstance(path, str) or not _MOUNT.match(path):
            raise ApplicationError(f"{path!r} is not a path; want '/socket'")
        mounted = copy.copy(self)
        mounted.path = path
        mounted.pattern = re.compile(path_pattern(path))
        return mounted


def path_pattern(path: str) -> str:
    """Return `/socket/:tenant` as a regular expression; variables that start with `_` are not passed on."""
    parts = _VARIABLE.split(path)
    pattern = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        group = "(?:[^/]+)" if name.startswith("_") else f"(?P<{name}>[^/]+)"
        pattern += f"/{group}{re.escape(literal)}"
    return pattern
