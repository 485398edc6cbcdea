"""Channel: the application's class; one instance per (socket, topic), its callbacks one at a time.

Source: Phoenix.Channel. A Channel opens nothing: what it sends goes to its ChannelContext.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args

from mesh.assigns import Assign, Assigns, assign
from mesh.channel_context import ChannelContext
from mesh.errors import ChannelError, UnhandledEventError
from mesh.replies import NO_PAYLOAD, Reply, SocketRef, given

if TYPE_CHECKING:
    from mesh.socket import Socket

Handler = TypeVar("Handler", bound=Callable[..., Any])
SlowConsumer = Literal["close", "drop_oldest", "latest_only", "pause_publisher"]


def on(*events: str) -> Callable[[Handler], Handler]:
    """Let a method handle these events: `@on("new_msg")` above `def new_msg(self, payload)`."""

    def mark(handler: Handler) -> Handler:
        handler.__mesh_events__ = events  # type: ignore[attr-defined]
        return handler

    return mark


LEVELS = ("debug", "info", "warning", "error", None)
"""Of a log line; None for none."""


class Timeout:
    """The type of TIMEOUT."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "TIMEOUT"


TIMEOUT = Timeout()
"""What `handle_info` gets after the silence that `Channel.timeout` asked for."""


class Sent:
    """What broadcast, push and reply return: already done, and awaitable for symmetry."""

    __slots__ = ()

    def __await__(self) -> Any:
        return iter(())


SENT = Sent()


@dataclass(frozen=True)
class RateLimit:
    """So many pushes a second, `burst` of them at once.

        class RoomChannel(Channel):
            rate_limit = RateLimit(per_second=10, burst=20)

    A push that is too much does not reach the channel; it is answered with an error:
    `{"reason": "rate limited", "limit": "pushes", "retry_after_ms": 100}`.

    Raises:
        ChannelError: if per_second is not above 0, or burst not at least 1.
    """

    per_second: float
    burst: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what would let nothing through."""
        if not (self.per_second > 0 and self.burst >= 1):
            raise ChannelError(f"{self}: want per_second above 0 and burst at least 1")


class Channel:
    """Subclass it, declare it in `SocketHandler.channels`. Callbacks may be `def` or `async def`.

        class RoomChannel(Channel):
            def join(self, topic, payload):
                if topic == "room:private":
                    return refuse("unauthorized")

            @on("new_msg")
            def new_msg(self, payload):
                self.broadcast("new_msg", payload)

    A handler returns None (no reply), a dict, a list or bytes (reply ok), or `ok(value)`,
    `error(value)`, `Reply(value, status)`. An exception ends this channel only; the client gets
    `phx_error` and rejoins.

    Attributes:
        intercept: events whose broadcasts go through `handle_out` instead of straight to the client.
        spread: "topic": all members of a topic on one worker; "socket": spread over all workers.
        slow_consumer: when a client reads too slowly: "close": it is closed, over
            `gateway.max_unsent_bytes`; "drop_oldest": it misses the oldest broadcasts; "latest_only": of
            each event it gets the newest; "pause_publisher": the topic's channels handle no pushes until it
            has caught up (docs/operations.md, "Slow readers").
        max_behind_messages: with "drop_oldest", broadcasts of a topic that wait for one client.
        rate_limit: pushes that one client may send to one such channel; None for no limit.
        log_join: level of the line for each join; None for none.
        log_handle_in: level of the line for each event handled; None for none.
        topic: what was joined.
        socket: whose channel it is.
        join_ref: of the join that made this channel.
    """

    intercept: ClassVar[Collection[str]] = ()
    spread: ClassVar[Literal["topic", "socket"]] = "topic"
    slow_consumer: ClassVar[SlowConsumer] = "close"
    max_behind_messages: ClassVar[int] = 1_000
    rate_limit: ClassVar["RateLimit | None"] = None
    handlers: ClassVar[dict[str, str]] = {}
    log_join: ClassVar[str | None] = "debug"
    log_handle_in: ClassVar[str | None] = "debug"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = _collect_handlers(cls)
        if isinstance(cls.intercept, str):
            raise ChannelError(f"{cls.__name__}.intercept is a string; want a tuple of events")
        if cls.intercept and cls.handle_out is Channel.handle_out:
            raise ChannelError(f"{cls.__name__} intercepts {tuple(cls.intercept)} without handle_out")
        if cls.snapshot is not Channel.snapshot and cls.restore is Channel.restore:
            raise ChannelError(f"{cls.__name__} has snapshot without restore; another worker needs both")
        if cls.spread not in ("topic", "socket"):
            raise ChannelError(f"{cls.__name__}.spread is {cls.spread!r}; want 'topic' or 'socket'")
        _check_slow_consumer(cls)
        if cls.rate_limit is not None and not isinstance(cls.rate_limit, RateLimit):
            raise ChannelError(f"{cls.__name__}.rate_limit is {cls.rate_limit!r}; want a mesh.RateLimit")
        check_level(cls, "log_join")
        check_level(cls, "log_handle_in")

    def __init__(self, context: ChannelContext, socket: "Socket", topic: str, join_ref: Any = None) -> None:
        self._context = context
        self.socket = socket
        self.topic = topic
        self.join_ref = join_ref

    # Callbacks

    def join(self, topic: str, payload: Any) -> Any:
        """Authorise the join: None or a dict accepts (with reply), `refuse(reason)` refuses."""
        return None

    def after_join(self, payload: Any) -> Any:
        """Runs after the join reply was sent; may push and broadcast. `payload` is the join's."""

    def handle_in(self, event: str, payload: Any) -> Any:
        """Takes every event without an `@on` handler. By default it raises, as in Phoenix."""
        raise UnhandledEventError(f"{type(self).__name__} has no handler for event {event!r}")

    def handle_out(self, event: str, payload: Any) -> Any:
        """Takes the broadcasts named in `intercept`; what it does not push is not sent."""
        raise ChannelError(f"{type(self).__name__} has no handle_out for {event!r}")

    def handle_info(self, message: Any) -> Any:
        """Takes what `send` queued, TIMEOUT, and Broadcasts on topics this channel subscribed to.

        A channel without it ignores messages, with a warning in the log.
        """

    def terminate(self, reason: Any) -> Any:
        """Runs when the channel ends.

        Args:
            reason: "left", "closed", "disconnected", "draining" (the gateway stops), "inactive" (a
                long-poll client is silent), "duplicate_join", "shutdown" (refused join, or the worker
                stops), "mailbox_overflow", "normal" or what was given to `stop`; an exception after a
                crash.
        """

    def snapshot(self) -> Any:
        """Give what another worker needs to go on: this worker stops, and the client shall not notice.

        A class that defines it, and `restore`, offers to move. It runs after all messages that had come,
        and is the channel's last callback here: `terminate` does not run. The assigns, subscriptions and
        presences of the channel move by themselves, what waits in `send` and `timeout` does not.

        Returns:
            A dict of what msgpack carries, `worker.max_snapshot_bytes` at most. None: this channel does
            not move; it ends with "shutdown" and its client joins anew.
        """
        return None

    def restore(self, state: dict[str, Any]) -> Any:
        """Go on from what `snapshot` gave, on another worker; instead of `join` and `after_join`.

        The client is joined all the time, so it may push, broadcast, and use `send` and `timeout`. What it
        sent meanwhile follows. If it raises, the client gets `phx_error` and joins anew.

        Args:
            state: as the `snapshot` of an older version of this class may have made it, too.
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
            NotJoinedError: in `join`.
            PayloadError: if the payload is neither an object nor bytes.
        """
        self._context.push(event, payload)
        return SENT

    def broadcast(self, event: str, payload: Any) -> Sent:
        """Send `event` to every member of this topic, on every node, this client included.

        Returns when the message is numbered and queued, not when it is delivered.

        Raises:
            NotJoinedError: in `join`.
            PayloadError: if the payload is neither an object nor bytes.
        """
        self._context.broadcast(event, payload, True)
        return SENT

    def broadcast_from(self, event: str, payload: Any) -> Sent:
        """As `broadcast`, but this channel is skipped."""
        self._context.broadcast(event, payload, False)
        return SENT

    def reply(self, payload: Any = NO_PAYLOAD, status: str = "ok", ref: SocketRef | None = None) -> Sent:
        """Answer a push: the one being handled, or the one that `ref` names.

        Args:
            payload: any JSON value, or bytes; `{}` if left out.
            status: of the reply.
            ref: what `socket_ref` returned.

        Raises:
            NotJoinedError: in `join`.
            ChannelError: without `ref` outside of a handler.
        """
        self._context.reply(ref, status, given(payload))
        return SENT

    def socket_ref(self) -> SocketRef:
        """Name the push being handled, for a `reply` later.

        Raises:
            ChannelError: outside of a handler.
        """
        return self._context.socket_ref()

    def stop(self, reason: str = "normal", reply: Reply | None = None) -> None:
        """End this channel after the current callback, with a reply first if given.

        "normal", "shutdown" and "shutdown:…" close it for good (`phx_close`); any other reason counts
        as a crash (`phx_error`, and the client rejoins).
        """
        if reply is not None:
            self.reply(reply.payload, reply.status)
        self._context.stop(reason)

    def send(self, message: Any, delay_seconds: float = 0.0) -> None:
        """Queue `message` for this channel's `handle_info`, now or after a delay."""
        self._context.send(message, delay_seconds)

    def timeout(self, seconds: float) -> None:
        """Let `handle_info` get TIMEOUT if nothing comes for so long after the current callback.

        Whatever comes first ends the wait; the callback that takes it may ask anew.

        Raises:
            ChannelError: for what is no number of seconds.
        """
        self._context.timeout(seconds)

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Deliver broadcasts on another topic to `handle_info`; when awaited, none is missed after it.

        Raises:
            TopicError: if `topic` starts with `$` or contains NUL.
            ChannelError: if the channel has ended.
        """
        return self._context.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """Undo `subscribe`."""
        self._context.unsubscribe(topic)


def check_level(cls: type, name: str) -> None:
    """Raise ChannelError if a class attribute is no level of a log line."""
    level = getattr(cls, name)
    if level not in LEVELS:
        raise ChannelError(f"{cls.__name__}.{name} is {level!r}; want one of {LEVELS}")


def _check_slow_consumer(cls: type[Channel]) -> None:
    policies, most = get_args(SlowConsumer), cls.max_behind_messages
    if cls.slow_consumer not in policies:
        raise ChannelError(f"{cls.__name__}.slow_consumer is {cls.slow_consumer!r}; want one of {policies}")
    if type(most) is not int or most < 1:
        raise ChannelError(f"{cls.__name__}.max_behind_messages is {most!r}; want an int of at least 1")


def _collect_handlers(cls: type[Channel]) -> dict[str, str]:
    handlers: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, str] = {}
        for name, member in vars(base).items():
            for event in getattr(member, "__mesh_events__", ()):
                if not isinstance(event, str):
                    raise ChannelError(f"{base.__name__}.{name}: @on({event!r}) is not a string")
                if event in own:
                    raise ChannelError(f"{base.__name__}: {own[event]} and {name} both handle {event!r}")
                own[event] = name
        handlers.update(own)
    return handlers


class RemoteChannel(Channel):
    """A channel that workers in other languages run: `channels = {"sensor:*": RemoteChannel}`.

    Gateways route joins to whichever worker announces the route (docs/protocol.md §2.1, §3); Python workers
    neither announce nor run it. Subclass it for another `spread`.
    """
