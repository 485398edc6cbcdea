"""Carries out what `mesh.client.session` decides. Only this file holds session, link and channels."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from mesh.client import actions, events, wire
from mesh.client.base import Connection, ConnectionEnded, Connector
from mesh.client.channel import ClientChannel
from mesh.client.channel_state import ChannelState, PushState
from mesh.client.hooks import Hooks
from mesh.client.link import Link
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
        self._link: Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._first: asyncio.Future[None] | None = None
        self._over = False

    async def start(self) -> None:
        """Connect. Raises as `Client.__aenter__`."""
        if self._first is not None:
            raise ConnectError("this client was used before; make another one")
        self._loop = asyncio.get_running_loop()
        # Later pushes and leaves may come from other tasks; what they start must not run in their contexts.
        self._context = self.hooks.context = copy_context()
        self._first = self._loop.create_future()
        self.feed(events.Start())
        try:
            await self._first
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close all channels and the connection, after sending what is queued."""
        if self._over:
            return
        if self._link is not None:
            await self._link.flush(FLUSH_SECONDS)
        self._over = True
        self.feed(events.Stop())
        if self._timer is not None:
            self._timer.cancel()
        # Everything is ended even if this call is cancelled.
        await asyncio.shield(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._connector.aclose()

    @property
    def connected(self) -> bool:
        """Whether the connection is open now."""
        return self._session.connected

    # For channels

    def join(self, channel: ClientChannel) -> None:
        """Begin to join a channel, which is told the result."""
        self._require_open(channel.topic)
        self._channels[channel._core] = channel
        self.feed(events.Join(channel._core))

    async def push(
        self, channel: ClientChannel, event: str, payload: Any, timeout_seconds: float | None
    ) -> Any:
        """As `ClientChannel.push`."""
        await self._room()
        timeout = self._options.timeout_seconds if timeout_seconds is None else timeout_seconds
        ready = wire.prepare(self._format, channel.topic, event, payload)
        push = PushState(channel._core, event, ready, timeout)
        self._require_joined(channel)
        reply = self._pushes.add(push)
        try:
            self.feed(events.Push(push))
            return await reply
        finally:
            self._pushes.remove(push)
            self.feed(events.Forget(push))

    async def cast(self, channel: ClientChannel, event: str, payload: Any) -> None:
        """As `ClientChannel.cast`."""
        await self._room()
        self._require_joined(channel)
        ready = wire.prepare(self._format, channel.topic, event, payload)
        push = PushState(channel._core, event, ready, self._options.timeout_seconds, False)
        failed = self._pushes.add(push)
        try:
            self.feed(events.Push(push))
            if failed.done():
                failed.result()
        finally:
            self._pushes.remove(push)
        await self._room()

    def _require_joined(self, channel: ClientChannel) -> None:
        self._require_open(channel.topic)
        if channel._core not in self._channels:
            raise ChannelClosed(f"{channel.topic!r} is not joined; call `await channel.join()` first")

    def _require_open(self, topic: str) -> None:
        if self._first is None or self._over:
            raise ChannelClosed(f"{topic!r}: the client is not open; use it in `async with Client(…)`")

    async def _room(self) -> None:
        """Wait while too much is unsent."""
        if self._link is not None:
            await self._link.room()

    # Events in, actions out

    def feed(self, event: events.Event) -> None:
        """Handle an event and carry out the session's actions; no effect before `start`."""
        if self._first is None:
            return
        for action in self._session.handle(event, self._loop.time()):
            _ACTIONS[type(action)](self, action)
        deadline = self._session.deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not self._over:
            self._timer = self._loop.call_at(
                deadline, self.feed, events.Tick(), context=self._context.copy()
            )

    def _connect(self, _action: actions.Connect) -> None:
        self._hang_up(1000, "")
        link = self._link = Link(self, self._open, self._context.copy())
        self._tasks.add(link.task)
        link.task.add_done_callback(self._tasks.discard)

    async def _open(self) -> Connection:
        return await self._connector.connect(await connect_params(self._params, self._format))

    def _disconnect(self, action: actions.Disconnect) -> None:
        if self._link is not None and self._link.opened:
            self.hooks.tell("close", action.code, action.reason)
        self._hang_up(action.code, action.reason)

    def _hang_up(self, code: int, reason: str) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.hang_up(code, reason)

    def _send(self, action: actions.Send) -> None:
        if self._link is not None:
            self._link.send(wire.encode(self._format, action))

    def _send_join(self, action: actions.SendJoin) -> None:
        core, ref = action
        try:
            params = self._channels[core]._join_params()
            message = actions.Send(ref, ref, core.topic, JOIN, {} if params is None else params)
            self._send(message)
        except Exception as error:  # of any kind, raised by the application's function
            self._not_joined(core, error, "the parameters of a join cannot be sent; trying again")

    def _deliver(self, action: actions.Deliver) -> None:
        self._channels[action.channel]._delivered(action.event, action.payload)

    def _replied(self, action: actions.Replied) -> None:
        self._pushes.replied(action)

    def _failed(self, action: actions.Failed) -> None:
        self._pushes.failed(action)

    def _joined(self, action: actions.Joined) -> None:
        self._channels[action.channel]._joined(action.response)

    def _refused(self, action: actions.Refused) -> None:
        self._not_joined(action.channel, JoinRefused(action.channel.topic, action.response))

    def _join_timed_out(self, action: actions.JoinTimedOut) -> None:
        core = action.channel
        sentence = f"the join of {core.topic!r} was not answered within {core.timeout:g} seconds"
        self._not_joined(core, JoinTimeout(sentence))

    def _not_joined(
        self, core: ChannelState, error: Exception, sentence: str = "cannot join; trying again"
    ) -> None:
        channel = self._channels[core]
        if channel._first is None or channel._first.done():
            return self._tell_problem(sentence, error, core.topic)
        channel._not_joined(error)
        if core.state == "joining":  # the first join cannot even be sent
            self._loop.call_soon(self.feed, events.Leave(core), context=self._context.copy())

    def _changed(self, action: actions.Changed) -> None:
        channel = self._channels[action.channel]
        if action.state == "errored":
            log.info("a channel will be joined again", topic=channel.topic, reason=action.reason)
        elif action.state == "closed":
            del self._channels[action.channel]
        channel._changed(action.state, action.reason)

    # Called by the link

    def opened(self) -> None:
        """The connection is open."""
        self.feed(events.Opened())
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        self.hooks.tell("open")

    def not_opened(self, error: Exception) -> None:
        """The connection could not be opened."""
        first = self._first
        unreachable = isinstance(error, ConnectError)
        if first is not None and not first.done() and not (unreachable and self._wait_for_server):
            first.set_exception(error)
        else:
            self._tell_problem("cannot connect; trying again", error)
        self._link = None
        self.feed(events.Closed(str(error)))

    def ended(self, ended: ConnectionEnded) -> None:
        """The connection has ended."""
        log.info("connection closed", address=self._address, code=ended.code, reason=ended.reason)
        self._link = None
        self.feed(events.Closed(str(ended)))
        self.hooks.tell("close", ended.code, ended.reason)

    def received(self, frame: Frame) -> None:
        """A message has arrived."""
        try:
            message = wire.decode(self._format, frame)
        except DecodeError as error:
            log.warning("a server's message cannot be decoded", address=self._address, reason=str(error))
            return
        self.feed(message)

    def _tell_problem(self, sentence: str, error: Exception, topic: str | None = None) -> None:
        known = isinstance(error, MeshError)
        log.warning(
            sentence,
            address=self._address,
            topic=topic,
            reason=str(error),
            exc_info=None if known else error,
        )
        self.hooks.tell("error", error)


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
