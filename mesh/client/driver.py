"""Carries out what `mesh.client.session` decides. Only this file refers to session,
connection and channels.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from mesh.client import actions, events, wire
from mesh.client.base import Connection, ConnectionEnded, Connector
from mesh.client.channel import ClientChannel
from mesh.client.channel_state import ChannelState, PushState
from mesh.client.connection_task import ConnectionTask
from mesh.client.hooks import Hooks
from mesh.client.options import Options
from mesh.client.params import connect_params
from mesh.client.pushes import Pushes
from mesh.client.session import Session
from mesh.errors import ChannelClosed, ConnectError, DecodeError, JoinRefused, JoinTimeout, MeshError
from mesh.protocol.messages import JOIN
from mesh.protocol.serializers.base import Frame
from mesh.telemetry import get_logger

log = get_logger(__name__)

FLUSH_SECONDS = 10.0
"""How long closing the client waits for queued messages to be sent."""


class Driver:
    """Implements the methods of `Client`.

    Args:
        address: the server's address, for log lines.
        connector: opens connections to the server.
        options: the session's options.
        format: the format of messages.
        params: the parameters for the application's `connect`, or a function that returns them.
        wait_for_server: whether to try again if the first connection cannot be opened.
    """

    def __init__(
        self,
        address: str,
        connector: Connector,
        options: Options,
        format: wire.Format,
        params: Any,
        wait_for_server: bool,
    ) -> None:
        self.hooks = Hooks()
        self._context = Context()
        self._address = address
        self._connector = connector
        self._options = options
        self._format: wire.Format = format
        self._params = params
        self._wait_for_server = wait_for_server
        self._session = Session(options)
        self._channels: dict[ChannelState, ClientChannel] = {}
        self._pushes = Pushes(options.max_buffered)
        self._timer: asyncio.TimerHandle | None = None
        self._connection_task: ConnectionTask | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_connect: asyncio.Future[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Connect. Raises as `Client.__aenter__`."""
        if self._first_connect is not None:
            raise ConnectError("this client was used before; make another one")
        self._loop = asyncio.get_running_loop()
        # Later pushes and leaves may come from other tasks; what they start must not run in their contexts.
        self._context = self.hooks.context = copy_context()
        self._first_connect = self._loop.create_future()
        self.handle(events.Start())
        try:
            await self._first_connect
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close all channels and the connection, after sending what is queued."""
        if self._closed:
            return
        if self._connection_task is not None:
            await self._connection_task.flush(FLUSH_SECONDS)
        self._closed = True
        self.handle(events.Stop())
        if self._timer is not None:
            self._timer.cancel()
        # Everything is ended even if this call is cancelled.
        await asyncio.shield(asyncio.ensure_future(self._close_everything()))

    async def _close_everything(self) -> None:
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._connector.aclose()

    @property
    def connected(self) -> bool:
        """Whether the connection is open now."""
        return self._session.connected

    # For channels

    def join(self, channel: ClientChannel) -> None:
        """Begin to join a channel, which is informed of the result."""
        self._require_open(channel.topic)
        self._channels[channel._channel_state] = channel
        self.handle(events.Join(channel._channel_state))

    async def push(
        self, channel: ClientChannel, event: str, payload: Any, timeout_seconds: float | None
    ) -> Any:
        """As `ClientChannel.push`."""
        await self._wait_for_outbox()
        timeout = self._options.timeout_seconds if timeout_seconds is None else timeout_seconds
        payload_data = wire.prepare(self._format, channel.topic, event, payload)
        push = PushState(channel._channel_state, event, payload_data, timeout)
        self._require_joined(channel)
        reply = self._pushes.add(push)
        try:
            self.handle(events.Push(push))
            return await reply
        finally:
            self._pushes.remove(push)
            self.handle(events.Forget(push))

    async def cast(self, channel: ClientChannel, event: str, payload: Any) -> None:
        """As `ClientChannel.cast`."""
        await self._wait_for_outbox()
        self._require_joined(channel)
        payload_data = wire.prepare(self._format, channel.topic, event, payload)
        push = PushState(channel._channel_state, event, payload_data, self._options.timeout_seconds, False)
        failed = self._pushes.add(push)
        try:
            self.handle(events.Push(push))
            if failed.done():
                failed.result()
        finally:
            self._pushes.remove(push)
        await self._wait_for_outbox()

    def _require_joined(self, channel: ClientChannel) -> None:
        self._require_open(channel.topic)
        if channel._channel_state not in self._channels:
            raise ChannelClosed(f"{channel.topic!r} is not joined; call `await channel.join()` first")

    def _require_open(self, topic: str) -> None:
        if self._first_connect is None or self._closed:
            raise ChannelClosed(f"{topic!r}: the client is not open; use it in `async with Client(…)`")

    async def _wait_for_outbox(self) -> None:
        """Wait while too much is unsent."""
        if self._connection_task is not None:
            await self._connection_task.wait_for_outbox()

    # Events in, actions out

    def handle(self, event: events.Event) -> None:
        """Handle an event and carry out the session's actions; no effect before `start`."""
        if self._first_connect is None:
            return
        for action in self._session.handle(event, self._loop.time()):
            _ACTIONS[type(action)](self, action)
        deadline = self._session.deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not self._closed:
            self._timer = self._loop.call_at(
                deadline, self.handle, events.Tick(), context=self._context.copy()
            )

    def _connect(self, _action: actions.Connect) -> None:
        self._close_connection(1000, "")
        connection_task = self._connection_task = ConnectionTask(self, self._open, self._context.copy())
        self._tasks.add(connection_task.task)
        connection_task.task.add_done_callback(self._tasks.discard)

    async def _open(self) -> Connection:
        return await self._connector.connect(await connect_params(self._params, self._format))

    def _disconnect(self, action: actions.Disconnect) -> None:
        if self._connection_task is not None and self._connection_task.opened:
            self.hooks.call("close", action.code, action.reason)
        self._close_connection(action.code, action.reason)

    def _close_connection(self, code: int, reason: str) -> None:
        connection_task, self._connection_task = self._connection_task, None
        if connection_task is not None:
            connection_task.close(code, reason)

    def _send(self, action: actions.Send) -> None:
        if self._connection_task is not None:
            self._connection_task.send(wire.encode(self._format, action))

    def _send_join(self, action: actions.SendJoin) -> None:
        channel_state, ref = action
        try:
            params = self._channels[channel_state]._join_params()
            message = actions.Send(ref, ref, channel_state.topic, JOIN, {} if params is None else params)
            self._send(message)
        except Exception as error:  # of any kind, raised by the application's function
            self._join_failed(channel_state, error, "the parameters of a join cannot be sent; trying again")

    def _deliver(self, action: actions.Deliver) -> None:
        self._channels[action.channel]._delivered(action.event, action.payload, action.ref)

    def _replied(self, action: actions.Replied) -> None:
        self._pushes.replied(action)

    def _failed(self, action: actions.Failed) -> None:
        self._pushes.failed(action)

    def _joined(self, action: actions.Joined) -> None:
        self._channels[action.channel]._joined(action.response)

    def _refused(self, action: actions.Refused) -> None:
        self._join_failed(action.channel, JoinRefused(action.channel.topic, action.response))

    def _join_timed_out(self, action: actions.JoinTimedOut) -> None:
        channel_state = action.channel
        sentence = (
            f"the join of {channel_state.topic!r} was not answered within {channel_state.timeout:g} seconds"
        )
        self._join_failed(channel_state, JoinTimeout(sentence))

    def _join_failed(
        self, channel_state: ChannelState, error: Exception, sentence: str = "cannot join; trying again"
    ) -> None:
        channel = self._channels[channel_state]
        if channel._first_join is None or channel._first_join.done():
            return self._report_problem(sentence, error, channel_state.topic)
        channel._join_failed(error)
        if channel_state.state == "joining":  # the first join cannot even be sent
            self._loop.call_soon(self.handle, events.Leave(channel_state), context=self._context.copy())

    def _changed(self, action: actions.Changed) -> None:
        channel = self._channels[action.channel]
        if action.state == "errored":
            log.info("a channel will be joined again", topic=channel.topic, reason=action.reason)
        elif action.state == "closed":
            del self._channels[action.channel]
        channel._changed(action.state, action.reason)

    # Called by the ConnectionTask

    def opened(self) -> None:
        """The connection is open."""
        self.handle(events.Opened())
        if self._first_connect is not None and not self._first_connect.done():
            self._first_connect.set_result(None)
        self.hooks.call("open")

    def not_opened(self, error: Exception) -> None:
        """The connection could not be opened."""
        first = self._first_connect
        unreachable = isinstance(error, ConnectError)
        if first is not None and not first.done() and not (unreachable and self._wait_for_server):
            first.set_exception(error)
        else:
            self._report_problem("cannot connect; trying again", error)
        self._connection_task = None
        self.handle(events.Closed(str(error)))

    def ended(self, ended: ConnectionEnded) -> None:
        """The connection has ended."""
        log.info("connection closed", address=self._address, code=ended.code, reason=ended.reason)
        self._connection_task = None
        self.handle(events.Closed(str(ended)))
        self.hooks.call("close", ended.code, ended.reason)

    def received(self, frame: Frame) -> None:
        """A message has arrived."""
        try:
            message = wire.decode(self._format, frame)
        except DecodeError as error:
            log.warning("a server's message cannot be decoded", address=self._address, reason=str(error))
            return
        self.handle(message)

    def _report_problem(self, sentence: str, error: Exception, topic: str | None = None) -> None:
        known = isinstance(error, MeshError)
        log.warning(
            sentence,
            address=self._address,
            topic=topic,
            reason=str(error),
            exc_info=None if known else error,
        )
        self.hooks.call("error", error)


_ACTIONS: dict[type[Any], Callable[[Driver, Any], None]] = {
    actions.Connect: Driver._connect,
    actions.Disconnect: Driver._disconnect,
    actions.Send: Driver._send,
    actions.SendJoin: Driver._send_join,
    actions.Deliver: Driver._deliver,
    actions.Replied: Driver._replied,
    actions.Failed: Driver._failed,
    actions.Joined: Driver._joined,
    actions.Refused: Driver._refused,
    actions.JoinTimedOut: Driver._join_timed_out,
    actions.Changed: Driver._changed,
}
