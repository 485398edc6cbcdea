"""Socket: one client's identity. SocketHandler: the application's class that authenticates it.

Source: Phoenix.Socket. `connect` and `id` run in the gateway, before the upgrade; the assigns are
copied into every channel at join, so they must be made of what msgpack can carry.
"""

import copy
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mesh.assigns import Assign, Assigns, assign
from mesh.channel import Channel, check_level
from mesh.errors import RouteError
from mesh.replies import Reply
from mesh.routes import Route, RouteTable


@dataclass(slots=True)
class Socket:
    """Who a channel talks to. Each channel has its own copy.

    Attributes:
        id: what `SocketHandler.id` returned.
        assigns: what `connect` left in `self.assigns`, with the route's assigns merged over it.
        transport: "websocket" or "longpoll".
        serializer: "v2_json", "v2_msgpack" or "v1_json".
    """

    id: str | None
    assigns: dict[str, Any]
    transport: str
    serializer: str


@dataclass(frozen=True, slots=True)
class ConnectInfo:
    """What `connect` may know of the request. Cookies and other headers are left out on purpose.

    Attributes:
        transport: "websocket" or "longpoll".
        peer: address and port of the client, as the gateway sees it.
        uri: of the request, whole.
        user_agent: the header, or None.
        x_headers: all headers that start with `x-`, lower-case.
        trace_context: the headers `traceparent` and `tracestate`, as far as given (W3C Trace Context).
        sec_websocket_headers: all headers that start with `sec-websocket-`, lower-case.
        auth_token: what phoenix.js was given as `authToken`, where `Mount(auth_token=True)`.
        session: of the web application, where `Mount(session=…)` and the CSRF token is right.
        extra: what `Mount(connect_info=…)` says.
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
    """Authenticates a socket and declares its channel routes; subclass it.

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
        assigns: class attribute: default assigns; in an instance: this socket's own.
        log: level of the line for each connection, accepted or refused; None for none.
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
            params: the query string's and the path's parameters, nested as Plug nests them.
            info: the request, as far as it may be known.
        """
        return None

    def assign(self, values: Assign = None, /, **more: Any) -> Assigns:
        """Merge into the assigns and return them: `assign(user=7)`, a mapping, or a function of them."""
        return assign(self.assigns, values, more)

    def id(self) -> str | None:
        """The topic on which `disconnect` closes this socket, e.g. "users:7"; None for no topic."""
        return None

    @classmethod
    def routes(cls) -> RouteTable[type[Channel]]:
        """The declared routes, checked.

        Raises:
            RouteError: for an unusable, doubled or shadowed route, or a target that is no Channel.
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
