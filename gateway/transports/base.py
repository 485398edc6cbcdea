"""The contract of a transport: what the hub asks of a client's connection, and how frames are made for it.

Two things make a transport. A `TransportServer` (server.py) exists once in a gateway: it learns who wants
to connect, asks the application (handshake.py for HTTP, admission.py for everything else), and stops with
the gateway. A `Transport` is one client's connection. What all connections have in common stands in
client_connection.py: their phases, the subscription of the client's id, the bound of what waits for a
client, the slow close and the idle rule. A subclass says how bytes come and go. A complete transport, but
for its imports and its HTTP handlers:

    class LinesServer:
        name, address, shortcut = "lines", "", None

        def __init__(self, services: Services) -> None:
            self.hub, self.settings = services.hub, services.settings.gateway
            self.clients: dict[str, LinesClient] = {}
            self._handshakes = handshakes(services.endpoint, self.name, self.settings)
            self._idle = idle_timer(self.clients.values, self.settings.idle_timeout_seconds)

        def routes(self) -> list[tuple[Any, ...]]:
            return [
                (path_pattern(each.mount.path) + "/lines", LinesHandler, {"server": self, "of": each})
                for each in self._handshakes
            ]

        async def connect(self, mount: Mount, admitted: Admitted) -> "LinesClient":
            async with id_subscribed(self.hub, admitted):
                client = self.clients[token] = LinesClient(self)
                client.admit(mount, admitted, ENCODINGS[admitted.serializer])
                return client  # LinesHandler writes what its `fetch` returns, and calls its `deliver`

        def start(self) -> None: ...
        def stop_accepting(self) -> None: ...
        async def aclose(self, timeout_seconds: float) -> None:
            self._idle.cancel()

    class LinesClient(FetchedConnection):
        name = "lines"

A transport is added to `TRANSPORTS` (registry.py), and to the makers of tests/contract/test_transports.py:
every transport passes the tests of that file. One over server-sent events is in
tests/contract/sse_transport.py; memory.py has no wire at all.
"""

from collections.abc import Callable
from typing import Any, Protocol

from gateway.fanout.delivery_stats import TopicStats
from gateway.flow.backlog import broadcast_frame
from gateway.flow.watermark import HighWatermark
from mesh.serializers.base import Frame, Serializer


class Encoding:
    """A serializer, and how a transport makes its frames ready to be sent.

    One instance for each combination: clients that share it are sent the same bytes.

    Attributes:
        ready: makes a frame ready.
        broadcast: marks what `ready` made of a broadcast as one, so that what becomes of it is counted and
            the policy of its channel applies while it waits (gateway/flow/backlog.py).
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
    """Where what is sent to a client goes."""

    watermark: HighWatermark | None
    """Set by the hub. Its `look` is called with the unsent bytes whenever they change while any wait."""

    def send(self, frame: Any) -> None:
        """Queue what `Encoding.ready` or `Encoding.broadcast` made.

        Returns at once and raises nothing. Frames arrive in the order of the calls. What waits is bounded
        by `gateway.max_unsent_bytes`: beyond it the policies of Channel classes drop broadcasts, and if
        that is not enough, the client is closed as with `close_slow`. After the end of the connection,
        frames are counted as lost.
        """

    @property
    def unsent_bytes(self) -> int:
        """What waits for the client in this process."""


class Transport(Protocol):
    """One client's connection, as the hub sees it.

    A transport calls the hub: `hub.connect` once when the client is admitted, then `hub.received` for each
    of its messages in the order in which they came, and `hub.disconnected` once when the client is gone for
    a reason that the hub does not know. After that the hub asks nothing more of it.
    """

    name: str
    """Of the kind of transport, as in metrics and in `socket.transport`."""

    def close(self, code: int, reason: str) -> None:
        """Deliver what is queued, then close with this code. No message reaches the hub afterwards.

        Returns at once. A client that does not hang up is cut off after a bounded time.
        """

    def close_slow(self, unsent: int) -> None:
        """Cut off a client that does not keep up, `unsent` bytes being what waits for it.

        Takes effect in a later tick, because the hub may call it from inside a fan-out: then what waits is
        dropped and counted, and `hub.disconnected` is called.
        """

    def pause(self) -> None:
        """Deliver no more messages of the client until `resume`; they wait, bounded.

        The idle rule does not count the time. What has been read already may still be delivered.
        """

    def resume(self) -> None:
        """Deliver messages again, those that waited first."""


class NoTransport:
    """The transport of a client that is gone: nothing that is asked of it has any effect."""

    name = "none"

    def close(self, code: int, reason: str) -> None:
        """No effect: it is closed."""

    def close_slow(self, unsent: int) -> None:
        """No effect: it is closed."""

    def pause(self) -> None:
        """No effect: nothing is read any more."""

    def resume(self) -> None:
        """No effect: nothing is read any more."""


GONE = NoTransport()
