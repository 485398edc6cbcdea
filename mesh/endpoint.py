"""Endpoint: the application's one object: its socket mounts, its settings, broadcast from anywhere.

Source: Phoenix.Endpoint. It opens nothing; a node binds it to its PubSub at start.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mesh import tokens
from mesh.channel import SENT, Sent
from mesh.errors import ApplicationError, RouteError
from mesh.messages import DISCONNECT
from mesh.mount import CheckOrigin, Mount
from mesh.presence import Presence
from mesh.pubsub import PubSub
from mesh.socket import SocketHandler


class Endpoint:
    """The application.

        endpoint = Endpoint(sockets={"/socket": UserSocket}, static={"/": Path("static")})

    Args:
        sockets: path → SocketHandler, or `Mount(handler, …)` for its options; the WebSocket is at
            `<path>/websocket`, long-poll at `<path>/longpoll`.
        static: URL prefix → directory that the gateway serves; a directory answers with index.html.
        http: Tornado request handlers of your own, `(pattern, handler_class)` or with a dict of
            arguments; they find this endpoint as `self.settings["endpoint"]`.
        check_origin: as in Phoenix: True (the Origin's host must be `gateway.url_host`), False, a list
            of patterns ("https://example.com", "//*.example.com", "//localhost:4000"), "conn" (same
            host, scheme and port as the request), or a function of the Origin header.
        presences: each Presence that channels use; the workers replicate them.
        settings: settings in code, nested as in mesh.toml: `{"gateway": {"port": 4000}}`; environment
            and flags win over them.

    Raises:
        ApplicationError: for an unusable mount or route.
    """

    def __init__(
        self,
        sockets: Mapping[str, type[SocketHandler] | Mount],
        *,
        static: Mapping[str, str | Path] | None = None,
        http: Sequence[tuple[Any, ...]] = (),
        check_origin: CheckOrigin = True,
        presences: Sequence[Presence] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.mounts = {path: _mount(path, each) for path, each in sockets.items()}
        self.static = {prefix: Path(directory) for prefix, directory in (static or {}).items()}
        self.http = tuple(http)
        self.check_origin = check_origin
        self.presences = _check_presences(presences)
        self.settings = dict(settings or {})
        self._pubsub: PubSub | None = None
        self._secret = ""

    def configure(self, secret: str) -> None:
        """Tell the endpoint its secret; nodes call it before they start."""
        self._secret = secret

    def sign(self, salt: str, data: Any, max_age_seconds: float = tokens.DEFAULT_MAX_AGE_SECONDS) -> str:
        """A token that carries `data`, for `verify` with the same salt; see `mesh.tokens.sign`.

        Raises:
            SettingsError: if `security.secret_key` is missing or too short.
        """
        return tokens.sign(self._secret, salt, data, max_age_seconds=max_age_seconds)

    def verify(self, salt: str, token: object, max_age_seconds: float | None = None) -> Any:
        """The data of a token that `sign` made, on any node; see `mesh.tokens.verify`.

        Raises:
            TokenError: if there is none, it is not ours, or too old.
        """
        return tokens.verify(self._secret, salt, token, max_age_seconds=max_age_seconds)

    def bind(self, pubsub: PubSub | None) -> None:
        """Connect this endpoint to a node; nodes call it."""
        self._pubsub = pubsub

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the node this endpoint runs in.

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

    def local_broadcast(self, topic: str, event: str, payload: Any) -> Sent:
        """Send `event` only to the members of `topic` that this node serves.

        In a worker those whose channels it runs, wherever their clients are connected; in a gateway its
        own clients, but for channels that intercept the event. Raises as `broadcast`.
        """
        self.pubsub.local_broadcast(topic, event, payload)
        return SENT

    def disconnect(self, socket_id: str) -> Sent:
        """Close every socket with this id; its client may connect again."""
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
