"""The client's side of a channel: what `Client.join` returns."""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, NamedTuple, Protocol, Self

from mesh.app.replies import NO_PAYLOAD, payload_or_default
from mesh.client import events
from mesh.client.channel_state import ChannelState
from mesh.client.history import History, Position, Seen
from mesh.client.presence import OnJoin, OnLeave, Presence
from mesh.errors import ChannelClosed, ChannelError
from mesh.telemetry import get_logger

log = get_logger(__name__)

Callback = Callable[[Any], object]
OnState = Callable[[str, str], object]


class Event(NamedTuple):
    """A push or broadcast from the server."""

    event: str
    payload: Any


class ChannelDriver(Protocol):
    """What a channel may ask of the client that it belongs to."""

    def join(self, channel: "ClientChannel") -> None:
        """Begin to join `channel`, which is informed of the result."""

    async def push(
        self, channel: "ClientChannel", event: str, payload: Any, timeout_seconds: float | None
    ) -> Any:
        """As `ClientChannel.push`."""

    async def cast(self, channel: "ClientChannel", event: str, payload: Any) -> None:
        """As `ClientChannel.cast`."""

    def handle(self, event: events.Event) -> None:
        """Pass an event to the session, and carry out the actions that it returns."""


class ClientChannel:
    """The client's side of a channel.

        room = await client.join("room:lobby", {"name": "ana"})
        reply = await room.push("new_msg", {"body": "hi"})
        async for event, payload in room:
            print(event, payload)

    Callbacks run in copies of the context (`contextvars`) in which the channel was created.

    Events with a callback (`on`) go to that callback. All others wait for the loop, at most `max_queued` of
    them; beyond that the oldest is dropped, counted in `dropped`, and logged.

    Attributes:
        topic: the channel's topic.
        response: the response to the last successful join.
        dropped: the number of events that were dropped because they were not read in time.
    """

    def __init__(
        self,
        driver: "ChannelDriver",
        topic: str,
        params: Any,
        timeout_seconds: float,
        max_queued: int,
        history: History | None = None,
    ) -> None:
        if history is not None:
            if not isinstance(history, History):
                raise ChannelError(f"history is {history!r:.100}; want a mesh.client.History")
            history.begin(topic)
        self.topic = topic
        self.response: Any = None
        self.dropped = 0
        self._context = copy_context()
        self._driver = driver
        self._params = params
        self._history = history
        self._channel_state = ChannelState(topic, timeout_seconds)
        self._join_called = False
        self._max_queued = max_queued
        self._queue: deque[tuple[Event, Position | None]] = deque()  # with the position before each
        self._readers: deque[asyncio.Future[None]] = deque()
        self._is_iterated = False
        self._callbacks: dict[str, list[Callback]] = {}
        self._state_callbacks: list[OnState] = []
        self._first_join: asyncio.Future[Any] | None = None
        self._closed: asyncio.Future[None] | None = None

    @property
    def state(self) -> str:
        """`joining`, `joined`, `errored` (it will rejoin automatically), `leaving` or `closed`."""
        return self._channel_state.state

    async def join(self) -> Any:
        """Join the channel and return the response. Call it once, after setting up callbacks.

        From now on the channel rejoins automatically, after a crash and on a new connection, until it is
        left or closed. If this first join fails, the channel is closed.

        Raises:
            JoinRefused: if the server refuses; it has the response.
            JoinTimeout: if no answer came in time.
            ChannelClosed: if the channel was left or joined before, or the client is closed.
        """
        if self._join_called:
            raise ChannelClosed(f"{self.topic!r} was already joined; make another one with client.channel")
        self._join_called = True
        loop = asyncio.get_running_loop()
        first = self._first_join = loop.create_future()
        self._closed = loop.create_future()
        self._driver.join(self)
        try:
            return await first
        except asyncio.CancelledError:
            self._driver.handle(events.Leave(self._channel_state))
            raise

    async def push(
        self, event: str, payload: Any = NO_PAYLOAD, timeout_seconds: float | None = None
    ) -> Any:
        """Send an event and return the response of its `ok` reply.

        While the channel is not joined, the push waits; its time-out starts again when it is sent.

        Args:
            event: the event's name.
            payload: any JSON value, or bytes; `{}` if left out.
            timeout_seconds: how long to wait for the reply; by default the client's time-out.

        Raises:
            PushError: if the reply has another status; it has `status` and `response`.
            PushTimeout: if no reply came in time, e.g. because the channel sends none: use `cast`.
            PushLost: if the channel or the connection ended before the reply.
            ChannelClosed: if the channel is left or closed.
            BufferFull: if too many pushes wait for the channel to be joined.
            PayloadError: if the payload is neither JSON nor bytes.
        """
        return await self._driver.push(self, event, payload_or_default(payload), timeout_seconds)

    async def cast(self, event: str, payload: Any = NO_PAYLOAD) -> None:
        """Send an event without waiting for a reply; return when it is queued.

        Raises:
            ChannelClosed: if the channel is left or closed.
            BufferFull: if too many pushes wait for the channel to be joined.
            PayloadError: if the payload is neither JSON nor bytes.
        """
        await self._driver.cast(self, event, payload_or_default(payload))

    async def leave(self) -> None:
        """Leave; return when the server has answered, or after the time-out. The loop ends."""
        self._driver.handle(events.Leave(self._channel_state))
        if self._closed is not None:
            await asyncio.shield(self._closed)

    def on(self, event: str, callback: Callback) -> Callable[[], None]:
        """Call `callback(payload)` for each such event, in order; return a function that removes it.

        Earlier events that have not been read are passed to it at once. Its exceptions are logged.

        Raises:
            ChannelError: if it is a coroutine function; where you must wait, use `async for`.
        """
        if inspect.iscoroutinefunction(callback):
            raise ChannelError(
                f"the callback of {event!r} is a coroutine function; to wait in a handler, use `async for`"
            )
        callbacks = self._callbacks.setdefault(event, [])
        callbacks.append(callback)
        missed = [each for each, _ in self._queue if each.event == event]
        if missed:
            self._queue = deque(each for each in self._queue if each[0].event != event)
            self._keep_unread_above_position()
            for each in missed:
                self._call(callback, each.payload, event=event)

        def off() -> None:
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks and self._callbacks.get(event) is callbacks:
                del self._callbacks[event]

        return off

    def on_state(self, callback: OnState) -> Callable[[], None]:
        """Call `callback(state, reason)` whenever `state` changes; return a function that removes it."""
        self._state_callbacks.append(callback)
        return lambda: self._state_callbacks.remove(callback) if callback in self._state_callbacks else None

    def presence(
        self,
        state: str = "presence_state",
        diff: str = "presence_diff",
        on_join: OnJoin | None = None,
        on_leave: OnLeave | None = None,
    ) -> Presence:
        """Return who is present, kept current while the channel exists.

        Args:
            state: the event with all presences.
            diff: the event with joins and leaves.
            on_join: as `Presence.on_join`; given here, it is also called for those already present.
            on_leave: as `Presence.on_leave`.
        """
        presence = Presence()
        if on_join is not None:
            presence.on_join(on_join)
        if on_leave is not None:
            presence.on_leave(on_leave)
        self.on(state, lambda payload: presence.synced(payload, self._channel_state.join_ref))
        self.on(diff, lambda payload: presence.changed(payload, self._channel_state.join_ref))
        return presence

    def __aiter__(self) -> Self:
        self._is_iterated = True
        return self

    async def __anext__(self) -> Event:
        self._is_iterated = True
        while not self._queue:
            if self._join_called and self._channel_state.state == "closed":
                raise StopAsyncIteration
            waiting = asyncio.get_running_loop().create_future()
            self._readers.append(waiting)
            try:
                await waiting
            finally:
                if waiting in self._readers:
                    self._readers.remove(waiting)
        event, _ = self._queue.popleft()
        self._keep_unread_above_position()
        return event

    async def __aenter__(self) -> Self:
        """Join if that has not been done; the block's end leaves."""
        if not self._join_called:
            await self.join()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.leave()

    # Called by the driver

    def _join_params(self) -> Any:
        params = self._context.copy().run(self._params) if callable(self._params) else self._params
        return params if self._history is None else self._history.join_params(params)

    def _is_new(self, history: History, event: str, payload: Any, ref: Any) -> bool:
        seen = history.received(event, payload, ref)
        if seen is Seen.GAP and history.on_gap is not None:
            self._call(history.on_gap, history.arrived, event="on_gap")
        return seen is Seen.NEW

    def _keep_unread_above_position(self) -> None:
        if self._history is not None:
            unread = self._is_iterated and self._queue  # without a loop, nobody will read them
            self._history.position = self._queue[0][1] if unread else self._history.arrived

    def _delivered(self, event: str, payload: Any, ref: Any) -> None:
        before = None if self._history is None else self._history.arrived
        is_new = self._history is None or self._is_new(self._history, event, payload, ref)
        self._keep_unread_above_position()
        if not is_new:
            return
        callbacks = self._callbacks.get(event)
        if callbacks:
            for callback in list(callbacks):
                self._call(callback, payload, event=event)
            return
        if len(self._queue) >= self._max_queued:
            self._queue.popleft()
            self.dropped += 1
            # Logged only if a loop reads events, and only the 1st, 2nd, 4th, 8th … one.
            if self._is_iterated and not self.dropped & (self.dropped - 1):
                log.warning("events not read in time are dropped", topic=self.topic, dropped=self.dropped)
        self._queue.append((Event(event, payload), before))
        self._keep_unread_above_position()
        self._wake()

    def _joined(self, response: Any) -> None:
        self.response = response
        if self._first_join is not None and not self._first_join.done():
            self._first_join.set_result(response)

    def _join_failed(self, error: Exception) -> None:
        if self._first_join is not None and not self._first_join.done():
            self._first_join.set_exception(error)

    def _changed(self, state: str, reason: str) -> None:
        if state == "closed":
            self._join_failed(ChannelClosed(f"{self.topic!r}: {reason}"))
            if self._closed is not None and not self._closed.done():
                self._closed.set_result(None)
            self._wake()
        for callback in list(self._state_callbacks):
            self._call(callback, state, reason, event=state)

    def _wake(self) -> None:
        for waiting in self._readers:
            if not waiting.done():
                waiting.set_result(None)

    def _call(self, callback: Callable[..., object], *arguments: Any, event: str) -> None:
        context = self._context.copy()
        try:
            context.run(callback, *arguments)
        except Exception as error:  # of any kind; the other callbacks still run
            context.run(log.error, "a callback raised", topic=self.topic, callback=event, exc_info=error)
