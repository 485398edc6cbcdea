"""Socket: one client's identity, as its channels see it. Source: Phoenix.Socket."""

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Socket:
    """The client that a channel serves. Each channel has its own copy.

    Attributes:
        id: the result of `SocketHandler.id`.
        assigns: the assigns set in `connect`, merged with those of the route, which take precedence.
        transport: "websocket", "longpoll" or "zeromq".
        serializer: "v2_json", "v2_msgpack" or "v1_json".
    """

    id: str | None
    assigns: dict[str, Any]
    transport: str
    serializer: str
