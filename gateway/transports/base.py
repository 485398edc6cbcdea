"""The contract of a transport: what the hub requires of a client's connection, and how frames are encoded.

A transport has two parts. A `TransportServer` (server.py) exists once in a gateway: it accepts connections,
asks the application whether to admit them (handshake.py for HTTP, admission.py for everything else), and
stops with the gateway. A `Transport` is one client's connection. client_connection.py contains what all
connections share: their phases, the subscription of the client's id, the limit of what waits for a client,
the closing of slow clients and the idle time-out. A subclass defines how bytes are sent and received. This
is a complete transport, except for its imports and its HTTP handlers:

    class LinesServer:
        name, address, shortcut = "lines", "", None

        def __init__(self, services: Services) -> None:
            self.hub, self.settings = services.hub, services.settings.gateway
            self.clients: dict[str, LinesClient] = {}
            self._handshakes = handshakes(services.endpoint, self.name, self.settings)
            self._idle = idle_timer(lambda: list(self.clients.values()), self.settings.idle_timeout_seconds)

        def routes(self) -> list[tuple[Any, ...]]:
            return [
                (each.path.pattern, LinesHandler, {"server": self, "handshake": each})
                for each in self._handshakes
            ]

        async def connect(self, mount: Mount, admitted: Admitted) -> "LinesClient":
            async with id_subscribed(self.hub, admitted):
                client = LinesClient(self)
                self.clients[client.token] = client
                client.admit(mount, admitted, ENCODINGS[admitted.serializer])
                return client  # LinesHandler writes what its `fetch` returns, and calls its `deliver`

        def answers(self) -> Mapping[str, CallHandler]:
            return {}

        def start(self) -> None: ...
        def stop_accepting(self) -> None: ...
        async def aclose(self, timeout_seconds: float) -> None:
            self._idle.cancel()

    class LinesClient(FetchedConnection):
        name = "lines"
        _server: LinesServer

        def __init__(self, server: LinesServer) -> None:
            super().__init__(server)
            self.token = secrets.token_urlsafe(16)

        def _release(self) -> None:
            super()._release()
            self._server.clients.pop(self.token, None)

Add a new transport to `TRANSPORTS` (registry.py), and a peer to `PEERS` (contract/transport_peers.py under
tests), so that it must pass tests/contract/test_transports.py. tests/contract/sse_transport.py is a
transport over server-sent events; memory.py works within one process.
"""

from collections.abc import Callable
from typing import Any, Protocol

from mesh.gateway.fanout.delivery_stats import TopicStats
from mesh.gateway.flow.backlog import broadcast_frame
from mesh.gateway.flow.watermark import HighWatermark
from mesh.protocol.serializers.base import Frame, Serializer


class Encoding:
    """A serializer, and how a transport prepares its frames for sending.

    There is one instance for each combination; clients that share it are sent the same bytes.

    Attributes:
        ready: prepares a frame.
        broadcast: marks a prepared frame as a broadcast, so that its outcome is counted and the policy of
            its Channel class applies while it waits (gateway/flow/backlog.py).
    """

    __slots__ = ("broadcast", "ready", "serializer")

    def __init__(
        self,
        serializer: Serializer,
        ready: Callable[[Frame], Any],
        broadcast: Callable[[Any, TopicStats, str], Any] = broadcast_frame,
    ) -> None:
        self.serializer = serializer
        self.ready = ready
        self.broadcast = broadcast


class OutboxContract(Protocol):
    """The queue of frames to one client."""

    watermark: HighWatermark | None
    """Set by the hub. Its `update` is called with the unsent bytes whenever they change while any wait."""

    def send(self, frame: Any) -> None:
        """Queue a frame made by `Encoding.ready` or `Encoding.broadcast`.

        Returns at once and raises nothing. Frames arrive in the order of the calls. What waits is limited
        by `gateway.max_unsent_bytes`: beyond it, broadcasts are dropped by the policies of their Channel
        classes, and if that is not enough, the client is closed as with `close_slow`. After the end of the
        connection, frames are counted as lost.
        """

    @property
    def unsent_bytes(self) -> int:
        """The bytes that wait for the client in this process."""


class Transport(Protocol):
    """One client's connection, as the hub sees it.

    A transport calls the hub: `hub.connect` once when the client is admitted, then `hub.received` for each
    of its messages in the order received, and `hub.disconnected` once if the connection ends for a reason
    that the hub does not know. After that the hub makes no more calls.
    """

    name: str
    """The name of the kind of transport, as in metrics and in `socket.transport`."""

    def close(self, code: int, reason: str) -> None:
        """Deliver what is queued, then close with this code. No message reaches the hub afterwards.

        Returns at once. A client that does not close its side is disconnected after a bounded time.
        """

    def close_slow(self, unsent: int) -> None:
        """Disconnect a client that does not keep up and has `unsent` bytes waiting.

        Takes effect in a later tick, because the hub may call it during a fan-out. Then what waits is
        dropped and counted, and `hub.disconnected` is called.
        """

    def pause(self) -> None:
        """Stop delivering the client's messages until `resume`; they wait, up to a limit.

        A transport that stops reading its socket suspends the idle time-out as well; the others still
        notice the client. Messages that have already been read may still be delivered.
        """

    def resume(self) -> None:
        """Deliver messages again, starting with those that waited."""


class NoTransport:
    """The transport of a client that is gone; its methods have no effect."""

    name = "none"

    def close(self, code: int, reason: str) -> None:
        """No effect: it is closed."""

    def close_slow(self, unsent: int) -> None:
        """No effect: it is closed."""

    def pause(self) -> None:
        """No effect: nothing is read."""

    def resume(self) -> None:
        """No effect: nothing is read."""


GONE = NoTransport()
