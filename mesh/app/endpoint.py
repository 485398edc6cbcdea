"""Endpoint: the application's single object, with its socket mounts, settings and broadcasts.

Source: Phoenix.Endpoint. It opens no connections; a node binds it to its PubSub at the start.
"""

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from mesh.app import tokens
from mesh.app.channel import SENT, Channel, Sent
from mesh.app.history import LIST_LIMIT, KeptBroadcast, KeptTopics
from mesh.app.mount import CheckOrigin, Mount
from mesh.app.presence import Presence
from mesh.app.pubsub import MAX_QUEUED, PubSub, Subscription
from mesh.app.socket_handler import SocketHandler
from mesh.errors import ApplicationError, ChannelError, RouteError
from mesh.protocol.messages import DISCONNECT

Background = Callable[[], Coroutine[Any, Any, object]]


class Endpoint:
    """The application.

        endpoint = Endpoint(sockets={"/socket": UserSocket}, static={"/": Path("static")})

    Args:
        sockets: path → SocketHandler, or `Mount(handler, …)` with options; the WebSocket is at
            `<path>/websocket`, long-poll at `<path>/longpoll`.
        static: URL prefix → directory that the gateway serves; for a directory, its index.html is served.
        http: additional Tornado request handlers, `(pattern, handler_class)`, optionally followed by a dict
            of arguments; they can access this endpoint as `self.settings["endpoint"]`.
        check_origin: as in Phoenix: True (the Origin's host must be `gateway.url_host`), False, a list
            of patterns ("https://example.com", "//*.example.com", "//localhost:4000"), "conn" (same
            host, scheme and port as the request), or a function of the Origin header.
        presences: the Presence objects that channels use; the workers replicate them.
        background: coroutine functions, each started in every worker once that is ready, cancelled when it
            stops, and restarted, after increasing delays, when it raises.
        settings: settings in code, nested as in mesh.toml: `{"gateway": {"port": 4000}}`; environment
            variables and flags take precedence.

    Raises:
        ApplicationError: for an invalid mount or route.
    """

    def __init__(
        self,
        sockets: Mapping[str, type[SocketHandler] | Mount],
        *,
        static: Mapping[str, str | Path] | None = None,
        http: Sequence[tuple[Any, ...]] = (),
        check_origin: CheckOrigin = True,
        presences: Sequence[Presence] = (),
        background: Sequence[Background] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.mounts = {path: _mount(path, each) for path, each in sockets.items()}
        self.kept_topics = KeptTopics(self.mounts)
        self.static = {prefix: Path(directory) for prefix, directory in (static or {}).items()}
        self.http = tuple(http)
        self.check_origin = check_origin
        self.presences = _check_presences(presences)
        self.background = _check_background(background)
        self.settings = dict(settings or {})
        self._pubsub: PubSub | None = None
        self._secret = ""

    def configure(self, secret: str) -> None:
        """Set the endpoint's secret; nodes call this before they start."""
        self._secret = secret

    def sign(self, salt: str, data: Any, max_age_seconds: float = tokens.DEFAULT_MAX_AGE_SECONDS) -> str:
        """Return a token with `data`, for `verify` with the same salt; see `mesh.tokens.sign`.

        Raises:
            SettingsError: if `security.secret_key` is missing or too short.
        """
        return tokens.sign(self._secret, salt, data, max_age_seconds=max_age_seconds)

    def verify(self, salt: str, token: object, max_age_seconds: float | None = None) -> Any:
        """Return the data of a token that `sign` made, on any node; see `mesh.tokens.verify`.

        Raises:
            TokenError: if the token is missing, invalid or expired.
        """
        return tokens.verify(self._secret, salt, token, max_age_seconds=max_age_seconds)

    def bind(self, pubsub: PubSub | None) -> None:
        """Connect this endpoint to a node; called by nodes."""
        self._pubsub = pubsub

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the node that runs this endpoint.

        Raises:
            ApplicationError: if no node runs it.
        """
        if self._pubsub is None:
            raise ApplicationError("the endpoint is not running; start it with `mesh serve`")
        return self._pubsub

    def broadcast(self, topic: str, event: str, payload: Any) -> Sent:
        """Send `event` to every member of `topic`, on every node.

        Raises:
            TopicError: if `topic` starts with `$` or contains NUL.
            PayloadError: if the payload is neither an object nor bytes.
            ApplicationError: if no node runs this endpoint.
        """
        self.pubsub.broadcast(topic, event, payload)
        return SENT

    def broadcast_from(self, channel: Channel | None, topic: str, event: str, payload: Any) -> Sent:
        """As `broadcast`, but not to `channel`: neither to its client nor to its own subscription.

        Raises:
            ChannelError: if `channel` is neither a Channel nor None (to skip nobody).
        """
        if channel is not None and not isinstance(channel, Channel):
            raise ChannelError(f"broadcast_from {channel!r}: want the channel to skip, or None")
        sender = channel._context.sender() if channel is not None else None
        self.pubsub.broadcast_from(sender, topic, event, payload)
        return SENT

    def direct_broadcast(self, node_id: str, topic: str, event: str, payload: Any) -> Sent:
        """As `broadcast`, to the subscribers on one node only (`PubSub.direct_broadcast`)."""
        self.pubsub.direct_broadcast(node_id, topic, event, payload)
        return SENT

    @property
    def node_id(self) -> str:
        """The id of the node that runs this endpoint, to which `direct_broadcast` can be addressed."""
        return self.pubsub.node_id

    def subscribe(self, topic: str, max_queued: int = MAX_QUEUED) -> Subscription:
        """Return the broadcasts on `topic`, or on all topics with a prefix (`room:*`), for a background
        task.

            async with endpoint.subscribe("room:*") as broadcasts:
                async for broadcast in broadcasts:
                    ...

        Once entered, none is missed. Broadcasts that are not read in time are dropped when more than
        `max_queued` wait, the oldest first, and counted in `broadcasts.dropped`. The loop ends when the
        node stops.

        Raises:
            TopicError: if the topic starts with `$`, or has a `*` that is not at its end.
            ApplicationError: if no node runs this endpoint.
        """
        return self.pubsub.subscribe(topic, max_queued)

    async def history(
        self, topic: str, limit: int = LIST_LIMIT, before: int | None = None
    ) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of a topic, the oldest of them first.

        Args:
            topic: a topic whose Channel class has a `history`.
            limit: the most broadcasts to return.
            before: return only broadcasts with a smaller offset, to page backwards; None for the newest.

        Raises:
            HistoryUnavailableError: if the history cannot be read now.
            ChannelError: if the topic has no history, or for an invalid `limit` or `before`.
            TopicError: if `topic` starts with `$` or contains NUL.
            ApplicationError: if no node runs this endpoint.
        """
        return await self.pubsub.history(topic, limit, before)

    async def forget(self, topic: str) -> None:
        """Remove the history of a topic. It begins a new epoch, so that clients do not recover across it.

        Raises as `history`.
        """
        await self.pubsub.forget(topic)

    def local_broadcast(self, topic: str, event: str, payload: Any) -> Sent:
        """Send `event` only to the members of `topic` that this node serves.

        In a worker these are the members whose channels it runs, wherever their clients are connected; in a
        gateway its own clients, except for channels that intercept the event. Raises as `broadcast`.
        """
        self.pubsub.local_broadcast(topic, event, payload)
        return SENT

    def disconnect(self, socket_id: str) -> Sent:
        """Close every socket with this id; the clients may connect again."""
        return self.broadcast(socket_id, DISCONNECT, {})


def _mount(path: str, handler: type[SocketHandler] | Mount) -> Mount:
    try:
        return (handler if isinstance(handler, Mount) else Mount(handler)).at(path)
    except RouteError:
        raise
    except ApplicationError as error:
        raise ApplicationError(f"socket mount {path!r}: {error}") from None


def _check_presences(presences: Sequence[Presence]) -> tuple[Presence, ...]:
    names: set[str] = set()
    for presence in presences:
        if not isinstance(presence, Presence):
            raise ApplicationError(f"{presence!r} is not a Presence; want presences=[Presence()]")
        if presence.name in names:
            raise ApplicationError(
                f"two presences are named {presence.name!r}; give each its own, Presence('name')"
            )
        names.add(presence.name)
    return tuple(presences)


def _check_background(functions: Sequence[Background]) -> tuple[Background, ...]:
    for function in functions:
        call = getattr(type(function), "__call__", None)  # noqa: B004 (an instance may have an async one)
        if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)):
            raise ApplicationError(f"background {function!r} is not a coroutine function; want `async def`")
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise ApplicationError(
                f"background {function!r} must be callable without arguments: {error}"
            ) from None
    return tuple(functions)
