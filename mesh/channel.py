"""Channel: the application's class; one instance per (socket, topic), its callbacks one at a time.

Source: Phoenix.Channel. A Channel opens nothing: what it sends goes to a `ChannelContext`, which the
worker fills in (mesh/runtime/channel_server.py) and a test may replace.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from mesh.errors import ChannelError, UnhandledEventError

if TYPE_CHECKING:
    from mesh.messages import Sender
    from mesh.socket import Socket

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler returns to answer a push; `ok()` and `error()` make one."""

    payload: Any = None
    status: str = "ok"


def ok(payload: Any = None) -> Reply:
    """A reply of status ok: any JSON value, or bytes; without payload `{}`."""
    return Reply(payload, "ok")


def error(payload: Any = None) -> Reply:
    """A reply of status error; from `join` it refuses."""
    return Reply(payload, "error")


def refuse(reason: Any = None) -> Reply:
    """Refuse a join or a connection: `refuse("unauthorized")` is `error({"reason": "unauthorized"})`."""
    return Reply({"reason": reason} if isinstance(reason, str) else reason, "error")


@dataclass(frozen=True, slots=True)
class SocketRef:
    """Names one push of the client, so that it can be replied to later, from anywhere."""

    topic: str
    ref: Any


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

Assigns = dict[str, Any]


Assign = Mapping[str, Any] | Callable[[Assigns], Mapping[str, Any]] | None
"""What `assign` takes: values, or a function that makes them of the assigns there are."""


def assign(assigns: Assigns, values: Assign, more: Assigns) -> Assigns:
    """Merge values into assigns; returns these."""
    assigns.update((values(assigns) if callable(values) else values) or {}, **more)
    return assigns


class Sent:
    """What broadcast, push and reply return: already done, and awaitable for symmetry."""

    __slots__ = ()

    def __await__(self) -> Any:
        return iter(())


SENT = Sent()


class ChannelContext(Protocol):
    """What a channel needs of the worker that runs it."""

    def push(self, event: str, payload: Any) -> None:
        """To this client."""

    def reply(self, ref: SocketRef | None, status: str, payload: Any) -> None:
        """To a push of this client; None is the one being handled."""

    def broadcast(self, event: str, payload: Any, to_self: bool) -> None:
        """To all members of the topic."""

    def sender(self) -> "Sender":
        """Names this channel as one that must not get a broadcast."""

    def socket_ref(self) -> SocketRef:
        """The push being handled."""

    def stop(self, reason: str) -> None:
        """End the channel after the current callback."""

    def send(self, message: Any, delay_seconds: float) -> None:
        """Queue `message` for `handle_info`."""

    def timeout(self, seconds: float) -> None:
        """Queue TIMEOUT for `handle_info` after so much silence."""

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Deliver broadcasts on `topic` to `handle_info`."""

    def unsubscribe(self, topic: str) -> None:
        """No longer."""


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
        rate_limit: pushes that one client may send to one such channel; None for no limit.
        log_join: level of the line for each join; None for none.
        log_handle_in: level of the line for each event handled; None for none.
        topic: what was joined.
        socket: whose channel it is.
        join_ref: of the join that made this channel.
    """

    intercept: ClassVar[Collection[str]] = ()
    spread: ClassVar[Literal["topic", "socket"]] = "topic"
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
        if cls.spread not in ("topic", "socket"):
            raise ChannelError(f"{cls.__name__}.spread is {cls.spread!r}; want 'topic' or 'socket'")
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

    def reply(self, payload: Any = None, status: str = "ok", ref: SocketRef | None = None) -> Sent:
        """Answer a push: the one being handled, or the one that `ref` names.

        Raises:
            NotJoinedError: in `join`.
            ChannelError: without `ref` outside of a handler.
        """
        self._context.reply(ref, status, payload)
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
