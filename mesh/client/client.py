"""`Client`: one connection with any number of channels, which reconnects automatically."""

import ssl as ssl_module
from collections.abc import Callable, Mapping
from typing import Any, Self

from mesh.client import wire
from mesh.client.channel import ClientChannel
from mesh.client.connectors import make_connector
from mesh.client.driver import Driver
from mesh.client.history import History
from mesh.client.options import Options
from mesh.client.params import value_of
from mesh.client.query_strings import without_secrets
from mesh.errors import SettingsError
from mesh.protocol.messages import check_name
from mesh.telemetry import log_to_logging

MAX_MESSAGE_BYTES = 16_000_000


class Client:
    """A client for Channelmesh or Phoenix.

        async with Client("ws://localhost:4000/socket", params={"token": token}) as client:
            room = await client.join("room:lobby")

    Entering the block connects. Until the block ends, a lost connection is opened again and its channels
    rejoin.

    Args:
        address: `ws://` or `wss://` with the mount's path, or a gateway's `zeromq.bind`: `tcp://`, `ipc://`.
        path: the mount's path, for ZeroMQ.
        params: the parameters for the application's `connect`, or a function or coroutine function that
            returns them for each connection.
        format: `"json"`, or `"msgpack"` (not with Phoenix).
        auth_token: the token, or a function as for `params`; sent as phoenix.js does, to mounts with
            `auth_token`. Not over ZeroMQ.
        headers: the headers of the WebSocket request.
        ssl: the TLS context for `wss://`; by default one with the system's certificates.
        server_key: the gateway's CURVE key, 40 characters of Z85.
        public_key: the public half of this client's own CURVE key pair; by default a new pair.
        secret_key: the secret half.
        timeout_seconds: how long to wait for the answer to a join, a push or a leave.
        connect_timeout_seconds: how long to wait for a connection to open.
        heartbeat_seconds: the interval of heartbeats; one unanswered for that long ends the connection.
        reconnect_seconds: the delay before each attempt to reconnect; the last is repeated. The default is
            that of phoenix.js.
        rejoin_seconds: the delay before each attempt to rejoin after a crash or a refusal; the last is
            repeated.
        max_queued: the most events that wait to be read in one channel.
        max_buffered: the most pushes that wait for one channel to be joined.
        wait_for_server: whether entering waits for a server that cannot be reached yet.

    Raises:
        SettingsError: for an invalid address, key or option.
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
        self.address = without_secrets(address)
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
            ConnectRefused: if the server refuses this client.
            ConnectError: if it cannot be reached (see `wait_for_server`), or the client was used before.
        """
        log_to_logging()
        await self._driver.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all channels and the connection, after up to 10 seconds to send what is queued."""
        await self._driver.aclose()

    @property
    def connected(self) -> bool:
        """Whether the connection is open now."""
        return self._driver.connected

    def on_open(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback()` whenever a connection has opened; return a function that removes it."""
        return self._driver.hooks.add("open", callback)

    def on_close(self, callback: Callable[[int, str], object]) -> Callable[[], None]:
        """Call `callback(code, reason)` when an open connection has ended; 1006 means without a close."""
        return self._driver.hooks.add("close", callback)

    def on_error(self, callback: Callable[[Exception], object]) -> Callable[[], None]:
        """Call `callback(error)` whenever an attempt to connect or rejoin fails; it will be repeated."""
        return self._driver.hooks.add("error", callback)

    # Channels

    def channel(
        self,
        topic: str,
        params: Any = None,
        *,
        history: History | None = None,
        max_queued: int | None = None,
    ) -> ClientChannel:
        """Return a channel that is not joined yet, so that callbacks can be set up before `join`.

        Args:
            topic: the channel's topic.
            params: the parameters for the channel's `join`, or a function that returns them for each join.
            history: keeps the position in the topic's history, so that rejoins bring what was missed.
            max_queued: the most events that wait to be read; by default the client's limit.

        Raises:
            ChannelError: if `history` is not a mesh.client.History, or is that of another topic.
        """
        check_name(topic, "topic")
        queued = self._max_queued if max_queued is None else max_queued
        return ClientChannel(self._driver, topic, params, self._options.timeout_seconds, queued, history)

    async def join(
        self,
        topic: str,
        params: Any = None,
        *,
        history: History | None = None,
        max_queued: int | None = None,
    ) -> ClientChannel:
        """Join a channel. See `channel` for the arguments and `ClientChannel.join` for the exceptions."""
        channel = self.channel(topic, params, history=history, max_queued=max_queued)
        await channel.join()
        return channel
