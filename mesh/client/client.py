"""`Client`: one connection that carries any number of channels and comes back by itself."""

import ssl as ssl_module
from collections.abc import Callable, Mapping
from typing import Any, Self

from mesh.client import wire
from mesh.client.channel import ClientChannel
from mesh.client.connectors import make_connector
from mesh.client.driver import Driver
from mesh.client.options import Options
from mesh.client.params import value_of
from mesh.errors import SettingsError
from mesh.messages import check_name
from mesh.telemetry import log_to_logging

MAX_MESSAGE_BYTES = 16_000_000


class Client:
    """A client of Channelmesh, or of Phoenix.

        async with Client("ws://localhost:4000/socket", params={"token": token}) as client:
            room = await client.join("room:lobby")

    Entering connects. From then on a lost connection is opened again, and its channels are joined again,
    until the block ends.

    Args:
        address: `ws://` or `wss://` with the mount's path, or a gateway's `zeromq.bind`: `tcp://`, `ipc://`.
        path: of the mount, over ZeroMQ.
        params: for the application's `connect`; or a function, perhaps a coroutine function, which is asked
            for each connection.
        format: `"json"`, or `"msgpack"` (not to Phoenix).
        auth_token: or a function as for `params`; sent as phoenix.js does, to mounts with `auth_token`.
            Not over ZeroMQ.
        headers: of the WebSocket's request.
        ssl: for `wss://`, by default the system's certificates.
        server_key: the gateway's CURVE key, 40 characters of Z85.
        public_key: this client's own CURVE key pair, by default a new one.
        secret_key: the other half.
        timeout_seconds: for the answer to a join, a push, a leave.
        connect_timeout_seconds: for a connection to open.
        heartbeat_seconds: between heartbeats; one unanswered for as long ends the connection.
        reconnect_seconds: before each try to connect again; the last is repeated. By default phoenix.js's.
        rejoin_seconds: before each try to join again after a crash or a refusal; the last is repeated.
        max_queued: events that wait to be read in one channel.
        max_buffered: pushes that wait for one channel to be joined.
        wait_for_server: enter even if the server cannot be reached yet, as soon as it can.

    Raises:
        SettingsError: for an address, a key or an option that cannot be used.
    """

    def __init__(
        self,
        address: str = "ws://localhost:4000/socket",
        *,
        path: str = "/socket",
        params: Any = None,
        format: wire.Format = "json",
        auth_token: Any = None,
        headers: Mapping[str, str] | None = None,
        ssl: ssl_module.SSLContext | None = None,
        server_key: str | None = None,
        public_key: str | None = None,
        secret_key: str | None = None,
        timeout_seconds: float = Options.timeout_seconds,
        connect_timeout_seconds: float = 10.0,
        heartbeat_seconds: float = Options.heartbeat_seconds,
        reconnect_seconds: tuple[float, ...] = Options.reconnect_seconds,
        rejoin_seconds: tuple[float, ...] = Options.rejoin_seconds,
        max_queued: int = 1_000,
        max_buffered: int = Options.max_buffered,
        wait_for_server: bool = False,
    ) -> None:
        if format not in ("json", "msgpack"):
            raise SettingsError(f"format {format!r} is unknown; want 'json' or 'msgpack'")
        self.address = address.partition("?")[0]  # what follows may be secret
        self._options = Options(
            timeout_seconds=timeout_seconds,
            heartbeat_seconds=heartbeat_seconds,
            reconnect_seconds=tuple(reconnect_seconds),
            rejoin_seconds=tuple(rejoin_seconds),
            max_buffered=max_buffered,
        )
        self._max_queued = max_queued
        connector = make_connector(
            address,
            path=path,
            headers=headers,
            ssl=ssl,
            auth_token=None if auth_token is None else lambda: value_of(auth_token),
            server_key=server_key,
            public_key=public_key,
            secret_key=secret_key,
            timeout_seconds=connect_timeout_seconds,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )
        self._driver = Driver(self.address, connector, self._options, format, params, wait_for_server)

    # The connection

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectRefused: if the server does not let this client in.
            ConnectError: if it cannot be reached (see `wait_for_server`), or the client was used before.
        """
        log_to_logging()
        await self._driver.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all channels and the connection; what was sent before has ten seconds to leave first."""
        await self._driver.aclose()

    @property
    def connected(self) -> bool:
        """Whether the connection is open now."""
        return self._driver.connected

    def on_open(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back whenever a connection has opened; returns what takes it back."""
        return self._driver.hooks.add("open", callback)

    def on_close(self, callback: Callable[[int, str], object]) -> Callable[[], None]:
        """Call `callback(code, reason)` whenever an open connection has ended; 1006 if it was cut."""
        return self._driver.hooks.add("close", callback)

    def on_error(self, callback: Callable[[Exception], object]) -> Callable[[], None]:
        """Call `callback(error)` whenever a try to connect or to join again fails; it goes on trying."""
        return self._driver.hooks.add("error", callback)

    # Channels

    def channel(self, topic: str, params: Any = None, *, max_queued: int | None = None) -> ClientChannel:
        """A channel that is not joined yet: to set up callbacks before `join`.

        Args:
            topic: of the channel.
            params: for the channel's `join`; or a function, which is asked at every join.
            max_queued: events that wait to be read; by default the client's.
        """
        check_name(topic, "topic")
        queued = self._max_queued if max_queued is None else max_queued
        return ClientChannel(self._driver, topic, params, self._options.timeout_seconds, queued)

    async def join(self, topic: str, params: Any = None, *, max_queued: int | None = None) -> ClientChannel:
        """Join a channel; `channel` says what the arguments mean, `ClientChannel.join` what it raises."""
        channel = self.channel(topic, params, max_queued=max_queued)
        await channel.join()
        return channel
