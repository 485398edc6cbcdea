"""Mount: one socket handler at one path, by which transports it is reached, and what `connect` may know."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh.channel import Channel
from mesh.errors import ApplicationError
from mesh.routes import RouteTable
from mesh.socket import SocketHandler

CheckOrigin = bool | str | Sequence[str] | Callable[[str], bool]

_MOUNT = re.compile(r"(/[A-Za-z0-9_.~-]+|/:[A-Za-z_][A-Za-z0-9_]*)+\Z")
_VARIABLE = re.compile(r"/:([A-Za-z_][A-Za-z0-9_]*)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 §5.6.2


@dataclass(frozen=True)
class SessionCookie:
    """Where the session of the web application that served the page is found.

    It is read only together with a `_csrf_token` parameter that equals the one in the session: a foreign
    page's connection carries the cookie as well, but does not know that token.

    Attributes:
        name: of the cookie.
        load: the cookie's text → the session, or None if it is not valid: `mesh.sessions` has two.
        csrf_key: of the token in the session.
        check_csrf: False reads the session of every page that passes the origin check.
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
        zeromq: whether clients over plain ZeroMQ may open it, where the gateway listens for them.
        auth_token: take phoenix.js's `authToken` out of Sec-WebSocket-Protocol (or, on long-poll, out of
            X-Phoenix-AuthToken) into `info.auth_token`.
        subprotocols: a client that offers some must offer one of these; the first is answered.
        check_origin: instead of the endpoint's.
        session: lets `info.session` be read.
        connect_info: what else stands in `info.extra`.

    Attributes:
        path: "/socket", or with variables "/socket/:tenant"; set by the endpoint.
        pattern: matches it, with the variables as groups.
        routes: the handler's route table.

    Raises:
        ApplicationError: for options that cannot be.
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
                f"{handler.__name__}: check_origin and check_csrf are both off: any page of the web could"
                " read its visitors' sessions; leave one of them on"
            )
        for each in subprotocols:
            if isinstance(subprotocols, str) or not isinstance(each, str) or not _TOKEN.match(each):
                raise ApplicationError(f"{handler.__name__}: {subprotocols!r} is no list of sub-protocols")
        self.path = ""
        self.pattern = re.compile("")
        self.handler = handler
        self.routes: RouteTable[type[Channel]] = handler.routes()
        self.websocket = websocket
        self.longpoll = longpoll
        self.zeromq = zeromq
        self.auth_token = auth_token
        # Phoenix.Socket.Transport: with auth_token on, "phoenix" is what browsers must be answered.
        self.subprotocols = ("phoenix", *subprotocols) if auth_token else tuple(subprotocols)
        self.check_origin = check_origin
        self.session = session
        self.connect_info = dict(connect_info or {})

    def at(self, path: str) -> "Mount":
        """This mount at a path. Raises ApplicationError for a path that is none."""
        if not isinstance(path, str) or not _MOUNT.match(path):
            raise ApplicationError(f"{path!r} is not a path; want '/socket'")
        mounted = copy.copy(self)
        mounted.path = path
        mounted.pattern = re.compile(path_pattern(path))
        return mounted


def path_pattern(path: str) -> str:
    """`/socket/:tenant` as a regular expression; a name that starts with `_` is matched, not passed."""
    parts = _VARIABLE.split(path)
    pattern = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        group = "(?:[^/]+)" if name.startswith("_") else f"(?P<{name}>[^/]+)"
        pattern += f"/{group}{re.escape(literal)}"
    return pattern
