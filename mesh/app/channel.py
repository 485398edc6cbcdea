"""Channel: the application's class. One instance per (socket, topic); its callbacks run one at a time.

Source: Phoenix.Channel. A Channel opens no connections: it sends everything through its ChannelContext.
"""

from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from mesh.app.assigns import Assign, Assigns, assign
from mesh.app.channel_context import ChannelContext
from mesh.app.event_handlers import collect_handlers
from mesh.app.history import History
from mesh.app.replies import NO_PAYLOAD, Reply, SocketRef, payload_or_default
from mesh.app.socket import Socket
from mesh.errors import ChannelError, UnhandledEventError

SlowConsumer = Literal["close", "drop_oldest", "latest_only", "pause_publisher"]


LEVELS = ("debug", "info", "warning", "error", None)
"""The level of a log line; None for no line."""


class Timeout:
    """The type of TIMEOUT."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "TIMEOUT"


TIMEOUT = Timeout()
"""Passed to `handle_info` after the period of silence that was set with `Channel.timeout`."""


class Sent:
    """What broadcast, push and reply return. They are complete on return; awaiting it has no effect."""

    __slots__ = ()

    def __await__(self) -> Any:
        return iter(())


SENT = Sent()


@dataclass(frozen=True)
class RateLimit:
    """A limit of `per_second` pushes a second, and `burst` at once.

        class RoomChannel(Channel):
            rate_limit = RateLimit(per_second=10, burst=20)

    A push over the limit does not reach the channel; it is answered with an error:
    `{"reason": "rate limited", "limit": "pushes", "retry_after_ms": 100}`.

    Raises:
        ChannelError: if per_second is not above 0, or burst not at least 1.
    """

    per_second: float
    burst: float = 1.0

    def __post_init__(self) -> None:
        """Reject values that would let nothing through."""
        if not (self.per_second > 0 and self.burst >= 1):
            raise ChannelError(f"{self}: want per_second greater than 0 and burst at least 1")


class Channel:
    """A channel: subclass it and declare it in `SocketHandler.channels`. Callbacks may be `async def`.

        class RoomChannel(Channel):
            def join(self, topic, payload):
                if topic == "room:private":
                    return refuse("unauthorized")

            @on("new_msg")
            def new_msg(self, payload):
                self.broadcast("new_msg", payload)

    A handler returns None (no reply); a dict, a list or bytes (a reply with status ok); or `ok(value)`,
    `error(value)` or `Reply(value, status)`. An exception ends only this channel; the client receives
    `phx_error` and rejoins.

    Attributes:
        intercept: events whose broadcasts are passed to `handle_out` instead of being sent to the client.
        spread: "topic": all channels of a topic run on one worker; "socket": they are spread over all
            workers.
        slow_consumer: what happens when a client reads too slowly. "close": it is closed at
            `gateway.max_unsent_bytes`; "drop_oldest": it misses the oldest broadcasts; "latest_only": of
            each event it receives only the latest; "pause_publisher": the topic's channels handle no pushes
            until it has caught up (docs/operations.md, "Slow readers").
        max_behind_messages: with "drop_oldest", the most broadcasts of a topic that wait for one client.
        rate_limit: the limit of pushes from one client to one channel of this class; None for no limit.
        history: which broadcasts of a topic are kept for clients that were away; None for none. In a
            callback, `await self.history.list()` returns them.
        log_join: the level of the log line for each join; None for no line.
        log_handle_in: the level of the log line for each handled event; None for no line.
        topic: the topic that was joined.
        socket: the client's socket.
        join_ref: the ref of the join that started this channel.
    """

    intercept: ClassVar[Collection[str]] = ()
    spread: ClassVar[Literal["topic", "socket"]] = "topic"
    slow_consumer: ClassVar[SlowConsumer] = "close"
    max_behind_messages: ClassVar[int] = 1_000
    rate_limit: ClassVar["RateLimit | None"] = None
    history: ClassVar[History | None] = None
    handlers: ClassVar[dict[str, str]] = {}
    log_join: ClassVar[str | None] = "debug"
    log_handle_in: ClassVar[str | None] = "debug"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = collect_handlers(cls)
        if isinstance(cls.intercept, str):
            raise ChannelError(f"{cls.__name__}.intercept is a string; want a tuple of events")
        if cls.intercept and cls.handle_out is Channel.handle_out:
            raise ChannelError(f"{cls.__name__} intercepts {tuple(cls.intercept)} without handle_out")
        if cls.snapshot is not Channel.snapshot and cls.restore is Channel.restore:
            raise ChannelError(f"{cls.__name__} has snapshot without restore; define both or neither")
        if cls.spread not in ("topic", "socket"):
            raise ChannelError(f"{cls.__name__}.spread is {cls.spread!r}; want 'topic' or 'socket'")
        _check_slow_consumer(cls)
        if cls.rate_limit is not None and not isinstance(cls.rate_limit, RateLimit):
            raise ChannelError(f"{cls.__name__}.rate_limit is {cls.rate_limit!r}; want a mesh.RateLimit")
        _check_history(cls)
        check_level(cls, "log_join")
        check_level(cls, "log_handle_in")

    def __init__(self, context: ChannelContext, socket: Socket, topic: str, join_ref: Any = None) -> None:
        self._context = context
        self.socket = socket
        self.topic = topic
        self.join_ref = join_ref

    # Callbacks

    def join(self, topic: str, payload: Any) -> Any:
        """Authorise the join: return None or a dict (the reply) to accept, `refuse(reason)` to refuse."""
        return None

    def after_join(self, payload: Any) -> Any:
        """Called after the join reply was sent; may push and broadcast. `payload` is that of the join."""

    def handle_in(self, event: str, payload: Any) -> Any:
        """Handle an event that has no `@on` handler. The default raises, as in Phoenix."""
        raise UnhandledEventError(f"{type(self).__name__} has no handler for event {event!r}")

    def handle_out(self, event: str, payload: Any) -> Any:
        """Handle a broadcast of an event in `intercept`. The client receives only what it pushes."""
        raise ChannelError(f"{type(self).__name__} has no handle_out for {event!r}")

    def handle_info(self, message: Any) -> Any:
        """Handle messages from `send`, TIMEOUT, and Broadcasts on topics that this channel subscribed to.

        If a channel does not define it, messages are ignored and a warning is logged.
        """

    def terminate(self, reason: Any) -> Any:
        """Called when the channel ends.

        Args:
            reason: "left", "closed", "disconnected", "draining" (the gateway stops), "inactive" (a
                long-poll client is silent), "duplicate_join", "shutdown" (the join was refused, or the
                worker stops), "mailbox_overflow", "normal" or another argument of `stop`; after a crash,
                the exception.
        """

    def snapshot(self) -> Any:
        """Return the state with which another worker can continue the channel, because this worker stops.

        Defining this method and `restore` makes the channels of the class movable, so that clients do not
        notice when a worker stops. It is called after all received messages were handled, and is the last
        callback on this worker: `terminate` is not called. The channel's assigns, subscriptions and
        presences move automatically; messages and time-outs that `send` and `timeout` have scheduled do
        not.

        Returns:
            A dict of values that msgpack can represent, at most `worker.max_snapshot_bytes`. If None, the
            channel does not move: it ends with "shutdown" and its client rejoins.
        """
        return None

    def restore(self, state: dict[str, Any]) -> Any:
        """Continue the channel from a snapshot, on another worker, instead of `join` and `after_join`.

        The client remained joined, so this method may push, broadcast, and use `send` and `timeout`.
        Messages that the client sent in the meantime follow. If it raises, the client receives `phx_error`
        and rejoins.

        Args:
            state: the result of `snapshot`, possibly of an older version of this class.
        """
        raise ChannelError(f"{type(self).__name__} has no restore")

    # What a channel can do

    @property
    def assigns(self) -> dict[str, Any]:
        """This channel's own copy of the socket's assigns."""
        return self.socket.assigns

    def assign(self, values: Assign = None, /, **more: Any) -> Assigns:
        """Merge into the assigns and return them: `assign(n=1)`, a mapping, or a function of them."""
        return assign(self.assigns, values, more)

    def push(self, event: str, payload: Any) -> Sent:
        """Send `event` to this client only.

        Raises:
            NotJoinedError: if called in `join`.
            PayloadError: if the payload is neither an object nor bytes.
        """
        self._context.push(event, payload)
        return SENT

    def broadcast(self, event: str, payload: Any) -> Sent:
        """Send `event` to every member of this topic, on every node, this client included.

        Returns when the message is numbered and queued, not when it is delivered.

        Raises:
            NotJoinedError: if called in `join`.
            PayloadError: if the payload is neither an object nor bytes.
        """
        self._context.broadcast(event, payload, True)
        return SENT

    def broadcast_from(self, event: str, payload: Any) -> Sent:
        """As `broadcast`, but not to this channel."""
        self._context.broadcast(event, payload, False)
        return SENT

    def reply(self, payload: Any = NO_PAYLOAD, status: str = "ok", ref: SocketRef | None = None) -> Sent:
        """Reply to a push: the one being handled, or the one that `ref` identifies.

        Args:
            payload: any JSON value, or bytes; `{}` if left out.
            status: the status of the reply.
            ref: the result of `socket_ref`.

        Raises:
            NotJoinedError: if called in `join`.
            ChannelError: if called without `ref` outside of a handler.
        """
        self._context.reply(ref, status, payload_or_default(payload))
        return SENT

    def socket_ref(self) -> SocketRef:
        """Return a reference to the push being handled, for a later `reply`.

        Raises:
            ChannelError: if called outside of a handler.
        """
        return self._context.socket_ref()

    def stop(self, reason: str = "normal", reply: Reply | None = None) -> None:
        """End this channel after the current callback, and send `reply` first if given.

        "normal", "shutdown" and "shutdown:…" close it permanently (`phx_close`); any other reason counts as
        a crash (`phx_error`, and the client rejoins).
        """
        if reply is not None:
            self.reply(reply.payload, reply.status)
        self._context.stop(reason)

    def send(self, message: Any, delay_seconds: float = 0.0) -> None:
        """Queue `message` for this channel's `handle_info`, now or after a delay."""
        self._context.send(message, delay_seconds)

    def timeout(self, seconds: float) -> None:
        """Pass TIMEOUT to `handle_info` if nothing arrives for `seconds` after the current callback.

        Any message cancels the time-out; the callback that handles it may set it again.

        Raises:
            ChannelError: if `seconds` is not a number of at least 0.
        """
        self._context.timeout(seconds)

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Pass broadcasts on another topic to `handle_info`. Once awaited, none is missed.

        Raises:
            TopicError: if `topic` starts with `$` or contains NUL.
            ChannelError: if the channel has ended.
        """
        return self._context.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """Undo `subscribe`."""
        self._context.unsubscribe(topic)


def check_level(cls: type, name: str) -> None:
    """Raise ChannelError if a class attribute is not a log level."""
    level = getattr(cls, name)
    if level not in LEVELS:
        raise ChannelError(f"{cls.__name__}.{name} is {level!r}; want one of {LEVELS}")


def _check_slow_consumer(cls: type[Channel]) -> None:
    policies, most = get_args(SlowConsumer), cls.max_behind_messages
    if cls.slow_consumer not in policies:
        raise ChannelError(f"{cls.__name__}.slow_consumer is {cls.slow_consumer!r}; want one of {policies}")
    if type(most) is not int or most < 1:
        raise ChannelError(f"{cls.__name__}.max_behind_messages is {most!r}; want an int of at least 1")


def _check_history(cls: type[Channel]) -> None:
    if cls.history is None:
        return
    if not isinstance(cls.history, History):
        raise ChannelError(f"{cls.__name__}.history is {cls.history!r}; want a mesh.History or None")
    cls.history.check_intercepts(cls.__name__, cls.intercept)


class RemoteChannel(Channel):
    """A channel that workers in other languages run: `channels = {"sensor:*": RemoteChannel}`.

    Gateways send joins to a worker that announces the route (docs/protocol.md §2.1, §3); Python workers
    neither announce nor run it. Subclass it to change `spread`. It cannot have a history, which only Python
    workers record.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.history is not None:
            raise ChannelError(
                f"{cls.__name__}.history: only Python workers record a history; set it to None"
            )
