"""`Client`: one connection that carries any number of channels and comes back by itself.

Carries out what `mesh.client.session` decides: the only file that holds session, transport and channels.
"""

import asyncio
import inspect
import ssl as ssl_module
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Self

from mesh.client import session as protocol
from mesh.client import wire
from mesh.client.base import Connection, ConnectionEnded, Connector
from mesh.client.channel import ClientChannel
from mesh.client.connectors import make_connector
from mesh.client.options import Options
from mesh.errors import (
    BufferFull,
    ChannelClosed,
    ClientError,
    ConnectError,
    ConnectRefused,
    DecodeError,
    JoinRefused,
    JoinTimeout,
    MeshError,
    PushError,
    PushLost,
    PushTimeout,
    SettingsError,
)
from mesh.messages import JOIN, check_name
from mesh.serializers.base import Frame
from mesh.telemetry import get_logger, log_to_logging

log = get_logger("mesh.client")

VSN = "2.0.0"
FLUSH_SECONDS = 1.0
"""What was sent before the client is closed has this long to leave."""
MAX_UNSENT_BYTES = 1_000_000
"""Above that `push` and `cast` wait until the server has read some."""
MAX_MESSAGE_BYTES = 16_000_000

Hook = Callable[[Any], object]


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
        rejoin_seconds: likewise, to join again after a crash or a refusal.
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
        self._params = params
        self._format: wire.Format = format
        self._max_queued = max_queued
        self._wait_for_server = wait_for_server
        self._connector: Connector = make_connector(
            address,
            path=path,
            headers=headers,
            ssl=ssl,
            auth_token=None if auth_token is None else lambda: _value(auth_token),
            server_key=server_key,
            public_key=public_key,
            secret_key=secret_key,
            timeout_seconds=connect_timeout_seconds,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )
        self._session = protocol.Session(self._options)
        self._channels: dict[protocol.ChannelState, ClientChannel] = {}
        self._pushes: dict[protocol.PushState, asyncio.Future[Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._link: _Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._first: asyncio.Future[None] | None = None
        self._over = False
        self._hooks: dict[str, list[Callable[..., object]]] = {"open": [], "close": [], "error": []}

    # The connection

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectRefused: if the server does not let this client in.
            ConnectError: if it cannot be reached (see `wait_for_server`), or the client was used before.
        """
        if self._first is not None:
            raise ConnectError("this client was used before; make another one")
        log_to_logging()
        self._loop = asyncio.get_running_loop()
        self._first = self._loop.create_future()
        self._feed(protocol.Start())
        try:
            await self._first
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all channels and the connection; what was sent before leaves first."""
        if self._over:
            return
        link = self._link
        if link is not None:
            await link.flush(FLUSH_SECONDS)
        self._over = True
        self._feed(protocol.Stop())
        if self._timer is not None:
            self._timer.cancel()
        # Whoever is cancelled here has ended everything all the same.
        await asyncio.shield(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._connector.aclose()

    @property
    def connected(self) -> bool:
        """Whether the connection is open now."""
        return self._session.connected

    def on_open(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back whenever a connection has opened; returns what takes it back."""
        return self._hook("open", callback)

    def on_close(self, callback: Callable[[int, str], object]) -> Callable[[], None]:
        """Call `callback(code, reason)` whenever an open connection has ended; 1006 if it was cut."""
        return self._hook("close", callback)

    def on_error(self, callback: Callable[[Exception], object]) -> Callable[[], None]:
        """Call `callback(error)` whenever a try to connect or to join again fails; it goes on trying."""
        return self._hook("error", callback)

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
        return ClientChannel(self, topic, params, self._options.timeout_seconds, queued)

    async def join(self, topic: str, params: Any = None, *, max_queued: int | None = None) -> ClientChannel:
        """Join a channel; `channel` says what the arguments mean, `ClientChannel.join` what it raises."""
        channel = self.channel(topic, params, max_queued=max_queued)
        await channel.join()
        return channel

    # For channels

    def _join(self, channel: ClientChannel) -> None:
        self._require_open(channel.topic)
        self._channels[channel._core] = channel
        self._feed(protocol.Join(channel._core))

    async def _push(
        self, channel: ClientChannel, event: str, payload: Any, timeout_seconds: float | None
    ) -> Any:
        await self._room()
        timeout = self._options.timeout_seconds if timeout_seconds is None else timeout_seconds
        ready = wire.prepare(self._format, channel.topic, event, payload)
        push = protocol.PushState(channel._core, event, ready, timeout)
        reply = self._pushes[push] = self._loop_of(channel).create_future()
        try:
            self._feed(protocol.Push(push))
            return await reply
        finally:
            self._pushes.pop(push, None)
            self._feed(protocol.Forget(push))

    async def _cast(self, channel: ClientChannel, event: str, payload: Any) -> None:
        await self._room()
        self._loop_of(channel)
        ready = wire.prepare(self._format, channel.topic, event, payload)
        push = protocol.PushState(channel._core, event, ready, self._options.timeout_seconds, False)
        failed = self._pushes[push] = self._loop.create_future()
        try:
            self._feed(protocol.Push(push))
            if failed.done():
                failed.result()
        finally:
            self._pushes.pop(push, None)
        await self._room()

    def _loop_of(self, channel: ClientChannel) -> asyncio.AbstractEventLoop:
        self._require_open(channel.topic)
        if channel._core not in self._channels:
            raise ChannelClosed(f"{channel.topic!r} is not joined; call `await channel.join()` first")
        return self._loop

    def _require_open(self, topic: str) -> None:
        if self._first is None or self._over:
            raise ChannelClosed(f"{topic!r}: the client is not open; use it in `async with Client(…)`")

    async def _room(self) -> None:
        """Wait until the server has read enough of what was sent."""
        link = self._link
        if link is not None:
            await link.room()

    # Events in, actions out

    def _feed(self, event: protocol.Event) -> None:
        if self._first is None:
            return
        for action in self._session.handle(event, self._loop.time()):
            _ACTIONS[type(action)](self, action)
        deadline = self._session.deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not self._over:
            self._timer = self._loop.call_at(deadline, self._feed, protocol.Tick())

    def _connect(self, _action: protocol.Connect) -> None:
        self._hang_up(1000, "")
        link = self._link = _Link(self)
        task = self._loop.create_task(link.run(), name="mesh.client connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        link.task = task

    def _disconnect(self, action: protocol.Disconnect) -> None:
        if self._link is not None and self._link.opened:
            self._tell("close", action.code, action.reason)
        self._hang_up(action.code, action.reason)

    def _hang_up(self, code: int, reason: str) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.hang_up(code, reason)

    def _send(self, action: protocol.Send) -> None:
        if self._link is not None:
            self._link.send(wire.encode(self._format, action))

    def _send_join(self, action: protocol.SendJoin) -> None:
        core, ref = action
        try:
            params = self._channels[core]._join_params()
            message = protocol.Send(ref, ref, core.topic, JOIN, {} if params is None else params)
            self._send(message)
        except Exception as error:  # of the application's function, whatever it is
            self._not_joined(core, error, "the parameters of a join cannot be sent; trying again")

    def _deliver(self, action: protocol.Deliver) -> None:
        self._channels[action.channel]._delivered(action.event, action.payload)

    def _replied(self, action: protocol.Replied) -> None:
        push = action.push
        if action.status == "ok":
            self._answer(push, action.response)
        else:
            error = PushError(push.channel.topic, push.event, action.status, action.response)
            self._answer(push, error=error)

    def _failed(self, action: protocol.Failed) -> None:
        push = action.push
        what = f"{push.event!r} on {push.channel.topic!r}"
        error: ClientError
        match action.why:
            case "timeout":
                error = PushTimeout(f"{what} was not answered within {push.timeout:g} seconds")
            case "lost":
                error = PushLost(f"{what}: channel or connection ended before the reply")
            case "full":
                error = BufferFull(
                    f"{what}: {self._options.max_buffered} pushes wait for the channel (max_buffered)"
                )
            case _:
                error = ChannelClosed(f"{what}: the channel is left or closed")
        if push not in self._pushes:
            log.warning("a cast was not sent", topic=push.channel.topic, cast=push.event, reason=action.why)
        self._answer(push, error=error)

    def _answer(
        self, push: protocol.PushState, response: Any = None, error: Exception | None = None
    ) -> None:
        waiting = self._pushes.get(push)
        if waiting is None or waiting.done():
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(response)

    def _joined(self, action: protocol.Joined) -> None:
        self._channels[action.channel]._joined(action.response)

    def _refused(self, action: protocol.Refused) -> None:
        self._not_joined(action.channel, JoinRefused(action.channel.topic, action.response))

    def _join_timed_out(self, action: protocol.JoinTimedOut) -> None:
        core = action.channel
        sentence = f"the join of {core.topic!r} was not answered within {core.timeout:g} seconds"
        self._not_joined(core, JoinTimeout(sentence))

    def _not_joined(
        self, core: protocol.ChannelState, error: Exception, sentence: str = "cannot join; trying again"
    ) -> None:
        channel = self._channels[core]
        if channel._first is None or channel._first.done():
            return self._tell_problem(sentence, error, core.topic)
        channel._not_joined(error)
        if core.state == "joining":  # the first join cannot even be sent
            self._loop.call_soon(self._feed, protocol.Leave(core))

    def _changed(self, action: protocol.Changed) -> None:
        channel = self._channels[action.channel]
        if action.state == "errored":
            log.info("a channel will be joined again", topic=channel.topic, reason=action.reason)
        elif action.state == "closed":
            del self._channels[action.channel]
        channel._changed(action.state, action.reason)

    # From the link

    async def _all_params(self) -> dict[str, Any]:
        params = await _value(self._params)
        given = {} if params is None else params
        if not isinstance(given, dict):
            raise SettingsError(f"params are {given!r}; want a dict, or a function that returns one")
        extra = {"vsn": VSN} if self._format == "json" else {"vsn": VSN, "format": self._format}
        return {**given, **extra}

    def _opened(self) -> None:
        self._feed(protocol.Opened())
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        self._tell("open")

    def _not_opened(self, error: Exception) -> None:
        first = self._first
        unreachable = isinstance(error, ConnectError)
        if first is not None and not first.done() and not (unreachable and self._wait_for_server):
            first.set_exception(error)
        else:
            self._tell_problem("cannot connect; trying again", error)
        self._link = None
        self._feed(protocol.Closed(str(error)))

    def _ended(self, ended: ConnectionEnded) -> None:
        log.info("connection closed", address=self.address, code=ended.code, reason=ended.reason)
        self._link = None
        self._feed(protocol.Closed(str(ended)))
        self._tell("close", ended.code, ended.reason)

    def _received(self, frame: Frame) -> None:
        try:
            message = wire.decode(self._format, frame)
        except DecodeError as error:
            log.warning("a message of the server cannot be read", address=self.address, reason=str(error))
            return
        self._feed(message)

    # Hooks

    def _hook(self, name: str, callback: Callable[..., object]) -> Callable[[], None]:
        callbacks = self._hooks[name]
        callbacks.append(callback)
        return lambda: callbacks.remove(callback) if callback in callbacks else None

    def _tell(self, name: str, *arguments: Any) -> None:
        for callback in list(self._hooks[name]):
            try:
                callback(*arguments)
            except Exception as error:  # whatever it is, the client is not to blame
                log.error("a callback raised", callback=f"on_{name}", exc_info=error)

    def _tell_problem(self, sentence: str, error: Exception, topic: str | None = None) -> None:
        known = isinstance(error, MeshError)
        log.warning(
            sentence,
            address=self.address,
            topic=topic,
            reason=str(error),
            exc_info=None if known else error,
        )
        self._tell("error", error)


class _Link:
    """One connection, from the try to open it to its end; a task of its own."""

    def __init__(self, client: Client) -> None:
        self.opened = False
        self.task: asyncio.Task[None] | None = None
        self._client = client
        self._outbox: deque[Frame] = deque()
        self._unsent_bytes = 0
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._goodbye = (1000, "")

    async def run(self) -> None:
        """Open it, carry messages, close it."""
        client = self._client
        try:
            connection = await client._connector.connect(await client._all_params())
        except (ConnectError, ConnectRefused) as error:
            if client._link is self:
                client._not_opened(error)
            return
        except Exception as error:  # of the application's functions, whatever it is
            if client._link is self:
                client._not_opened(error)
            return
        try:
            await self._converse(connection)
        finally:
            self._less.set()
            await connection.close(*self._goodbye)

    async def _converse(self, connection: Connection) -> None:
        client = self._client
        if client._link is not self:
            return
        self.opened = True
        writer = asyncio.get_running_loop().create_task(self._write(connection), name="mesh.client writer")
        client._opened()
        try:
            while True:
                frame = await connection.recv()
                if client._link is not self:
                    return
                client._received(frame)
        except ConnectionEnded as ended:
            if client._link is self:
                client._ended(ended)
        finally:
            writer.cancel()
            await asyncio.wait([writer])

    async def _write(self, connection: Connection) -> None:
        while True:
            while self._outbox:
                frame = self._outbox[0]
                try:
                    await connection.send(frame)
                except ConnectionEnded:
                    return  # the reader sees it too
                self._outbox.popleft()
                self._unsent_bytes -= len(frame.data)
                self._less.set()
            self._more.clear()
            await self._more.wait()

    def send(self, frame: Frame) -> None:
        """Send soon."""
        self._outbox.append(frame)
        self._unsent_bytes += len(frame.data)
        self._more.set()

    async def room(self) -> None:
        """Wait while too much is unsent."""
        while self._unsent_bytes > MAX_UNSENT_BYTES and self._client._link is self:
            self._less.clear()
            await self._less.wait()

    async def flush(self, seconds: float) -> None:
        """Wait until all is sent, so long at most."""
        try:
            async with asyncio.timeout(seconds):
                while self._outbox and self.opened and self._client._link is self:
                    self._less.clear()
                    await self._less.wait()
        except TimeoutError:
            log.warning("closed before all was sent", unsent_bytes=self._unsent_bytes)

    def hang_up(self, code: int, reason: str) -> None:
        """End it."""
        self._goodbye = (code, reason)
        self._less.set()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()


async def _value(given: Any) -> Any:
    """A value, or what a function or a coroutine function returns."""
    value = given() if callable(given) else given
    return await value if inspect.isawaitable(value) else value


_ACTIONS: dict[type[Any], Callable[[Client, Any], None]] = {
    protocol.Connect: Client._connect,
    protocol.Disconnect: Client._disconnect,
    protocol.Send: Client._send,
    protocol.SendJoin: Client._send_join,
    protocol.Deliver: Client._deliver,
    protocol.Replied: Client._replied,
    protocol.Failed: Client._failed,
    protocol.Joined: Client._joined,
    protocol.Refused: Client._refused,
    protocol.JoinTimedOut: Client._join_timed_out,
    protocol.Changed: Client._changed,
}
