"""SocketHandler: the application's class that authenticates a client, and what it learns of the request.

Source: Phoenix.Socket. `connect` and `id` run in the gateway, before the WebSocket upgrade. The assigns are
copied into every channel at join, so they may contain only values that msgpack can represent.
"""

import copy
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mesh.app.assigns import Assign, Assigns, assign
from mesh.app.channel import Channel, check_level
from mesh.app.replies import Reply
from mesh.app.routes import Route, RouteTable
from mesh.errors import RouteError


@dataclass(frozen=True, slots=True)
class ConnectInfo:
    """What `connect` learns about the request. Cookies and other headers are omitted deliberately.

    Attributes:
        transport: "websocket", "longpoll" or "zeromq".
        peer: the client's address and port, as the gateway sees them.
        uri: the complete URI of the request.
        user_agent: the User-Agent header, or None.
        x_headers: all headers that start with `x-`, in lower case.
        trace_context: the headers `traceparent` and `tracestate`, if present (W3C Trace Context).
        sec_websocket_headers: all headers that start with `sec-websocket-`, in lower case.
        auth_token: phoenix.js's `authToken`, if the mount has `auth_token=True`.
        session: the web application's session, if the mount has `session` and the CSRF token is correct.
        extra: the contents of the mount's `connect_info`.
    """

    transport: str
    peer: tuple[str, int] | None = None
    uri: str = ""
    user_agent: str | None = None
    x_headers: Mapping[str, str] = field(default_factory=dict)
    trace_context: Mapping[str, str] = field(default_factory=dict)
    sec_websocket_headers: Mapping[str, str] = field(default_factory=dict)
    auth_token: str | None = None
    session: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class SocketHandler:
    """Authenticates a socket and declares its channel routes. Subclass it.

        class UserSocket(SocketHandler):
            channels = {"room:*": RoomChannel}

            def connect(self, params, info):
                if params.get("token") != "secret":
                    return refuse()
                self.assigns["user"] = params["user"]

            def id(self):
                return f"users:{self.assigns['user']}"

    Attributes:
        channels: routes in order of precedence: a dict, or a list of `Route`.
        assigns: on the class, the default assigns; on an instance, the assigns of this socket.
        log: the level of the log line for each connection, accepted or refused; None for no line.
    """

    log: ClassVar[str | None] = "debug"

    channels: ClassVar[Mapping[str, type[Channel]] | Iterable[Route[type[Channel]]]] = {}
    assigns: dict[str, Any] = {}  # noqa: RUF012  (copied by each instance)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_level(cls, "log")

    def __init__(self) -> None:
        self.assigns = copy.deepcopy(type(self).assigns)

    def connect(
        self, params: dict[str, Any], info: ConnectInfo
    ) -> Awaitable[bool | Reply | None] | bool | Reply | None:
        """Accept (None or True) or refuse (False or `refuse()`) a connection. May be `async def`.

        Args:
            params: the parameters of the query string and the path, nested as Plug does.
            info: what is known about the request.
        """
        return None

    def assign(self, values: Assign = None, /, **more: Any) -> Assigns:
        """Merge into the assigns and return them: `assign(user=7)`, a mapping, or a function of them."""
        return assign(self.assigns, values, more)

    def id(self) -> str | None:
        """Return the topic on which `disconnect` closes this socket, e.g. "users:7"; None for no topic."""
        return None

    @classmethod
    def routes(cls) -> RouteTable[type[Channel]]:
        """Return the declared routes, checked.

        Raises:
            RouteError: for an invalid, duplicate or shadowed route, or a target that is not a Channel.
        """
        declared = cls.channels
        if isinstance(declared, Mapping):
            routes = [Route(pattern, channel) for pattern, channel in declared.items()]
        else:
            routes = list(declared)
        for route in routes:
            if not isinstance(route, Route):
                raise RouteError(f"{cls.__name__}.channels: {route!r} is not a Route")
            if not (isinstance(route.channel, type) and issubclass(route.channel, Channel)):
                raise RouteError(
                    f"{cls.__name__}: route {route.pattern!r} leads to {route.channel!r},"
                    " which is not a Channel class"
                )
        return RouteTable(routes, cls.__name__)
