"""Presence: the users on a topic, across all nodes.

Source: Phoenix.Presence. A Presence opens no connections: the worker that runs the endpoint sets its
context (mesh/worker/presence/server.py), so the same object works embedded and in a cluster.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from mesh.app import topics
from mesh.app.channel import Channel
from mesh.errors import ApplicationError, ChannelError
from mesh.protocol.messages import check_name

PRESENCE_DIFF = "presence_diff"

MAX_KEY_BYTES = 1_000

Meta = dict[str, Any]
"""What one tracked channel published about itself, with its `phx_ref`."""
Presences = dict[str, dict[str, Any]]
"""`{key: {"metas": [meta, …]}}`, with additional keys that `fetch` added besides `metas`."""


class Listed(Presences):
    """What `list` returns: already complete, and awaitable as with an async `fetch`."""

    __slots__ = ()

    def __await__(self) -> Any:
        yield from ()
        return self


class PresenceContext(Protocol):
    """What a Presence needs from the worker that runs it."""

    def track(self, owner: Hashable, topic: str, key: str, meta: Meta) -> str:
        """Track a key; return the meta's phx_ref."""

    def update(self, owner: Hashable, topic: str, key: str, meta: Callable[[Meta], Meta]) -> str:
        """Replace the meta; return its new phx_ref."""

    def untrack(self, owner: Hashable, topic: str, key: str) -> None:
        """Stop tracking a key."""

    def untrack_all(self, owner: Hashable) -> None:
        """Stop tracking everything that `owner` tracks."""

    def get_by_topic(self, topic: str) -> dict[str, list[Meta]]:
        """Return the metas of all keys on `topic`."""

    def get_by_key(self, topic: str, key: str) -> list[Meta]:
        """Return the metas of one key."""


class Presence:
    """Tracks the users on each topic. Create one, declare it in the endpoint, and use it in channels.

        presence = Presence()

        class RoomChannel(Channel):
            def after_join(self, payload):
                presence.track(self, self.assigns["user"], {"status": "here"})
                self.push("presence_state", presence.list(self))

        endpoint = Endpoint(sockets={"/socket": UserSocket}, presences=[presence])

    When a user joins or leaves, the members of the topic receive a `presence_diff`. When a channel ends,
    it is untracked automatically. Subclass it to define `fetch` and `handle_metas`; both may be `async
    def`.

    Args:
        name: distinguishes several presences of one application; must be equal on all nodes.
    """

    def __init__(self, name: str = "presence") -> None:
        topics.check(name)
        self.name = name
        self._context: PresenceContext | None = None

    # Callbacks

    def fetch(self, topic: str, presences: Presences) -> Any:
        """Add to what clients see of `presences`, e.g. names from a database, in one query for all.

        Called for each `list` and `get_by_key`, and for the joins and leaves of each diff. The result must
        contain every key with its `metas`.
        """
        return presences

    def handle_metas(self, topic: str, diff: dict[str, Any], presences: dict[str, list[Meta]]) -> Any:
        """Called on every worker after each change of a topic.

        Args:
            topic: the topic that changed.
            diff: `{"joins": {key: {"metas": […]}}, "leaves": {…}}`, as `fetch` returned them.
            presences: key → metas of all that are present now.
        """

    # What an application does

    def track(
        self, who: Any, key: object, meta: Mapping[str, Any] | None = None, *, topic: str = ""
    ) -> str:
        """Track `who` on its topic as `key`; return the meta's `phx_ref`.

        Args:
            who: a channel; or any hashable object, which you must `untrack` yourself, with a `topic`.
            key: usually the user's id; a user with two sockets has two metas under one key.
            meta: an object of JSON values.
            topic: a topic other than the channel's own.

        Raises:
            AlreadyTrackedError: if the key is already tracked.
            PayloadError: if the meta is not an object of JSON values, has an integer of more than 64 bits,
                or has more than 10,000 bytes.
            ChannelError: if the channel has ended.
        """
        return self._require_context().track(_owner(who), _topic(who, topic), _key(key), dict(meta or {}))

    def update(
        self,
        who: Any,
        key: object,
        meta: Mapping[str, Any] | Callable[[Meta], Mapping[str, Any]],
        *,
        topic: str = "",
    ) -> str:
        """Replace a meta that `who` tracks; return its new `phx_ref`.

        Args:
            who: as in `track`.
            key: as in `track`.
            meta: the new meta, or a function that computes it from the old one.
            topic: as in `track`.

        Raises:
            NotTrackedError: if `who` does not track the key.
            PayloadError: as `track`.
            ChannelError: as `track`.
        """
        make = meta if callable(meta) else lambda _: meta
        new = self._require_context().update
        return new(_owner(who), _topic(who, topic), _key(key), lambda old: dict(make(old)))

    def untrack(self, who: Any, key: object = None, *, topic: str = "") -> None:
        """Stop tracking `who` as `key`; without a key, stop tracking it everywhere."""
        if key is None:
            self._require_context().untrack_all(_owner(who))
        else:
            self._require_context().untrack(_owner(who), _topic(who, topic), _key(key))

    def list(self, where: "Channel | str") -> Any:
        """Return everybody on a channel's topic, or on the given topic: `{key: {"metas": […]}}`.

        If `fetch` is `async def`, the result must be awaited.
        """
        topic = where.topic if isinstance(where, Channel) else where
        found = {
            key: {"metas": metas} for key, metas in self._require_context().get_by_topic(topic).items()
        }
        presences = self.fetch(topic, found)
        return presences if hasattr(presences, "__await__") else Listed(presences)

    def get_by_key(self, where: "Channel | str", key: object) -> Any:
        """Return `{"metas": […]}` of one key, or None. If `fetch` is `async def`, it must be awaited."""
        topic = where.topic if isinstance(where, Channel) else where
        metas = self._require_context().get_by_key(topic, _key(key))
        found = {_key(key): {"metas": metas}} if metas else {}
        presences = self.fetch(topic, found)
        if hasattr(presences, "__await__"):
            return _get_when_ready(presences, _key(key))
        return presences.get(_key(key))

    # For the worker

    def bind(self, context: PresenceContext | None) -> None:
        """Connect this presence to a worker; called by workers."""
        self._context = context

    def _require_context(self) -> PresenceContext:
        if self._context is None:
            raise ApplicationError(
                f"presence {self.name!r} does not run here: declare it, Endpoint(…, presences=[presence]),"
                " and use it in channels or in background tasks of a worker"
            )
        return self._context


async def _get_when_ready(presences: Any, key: str) -> Any:
    return (await presences).get(key)


def _owner(who: Any) -> Hashable:
    owner = who._context if isinstance(who, Channel) else who
    if not isinstance(owner, Hashable):
        raise ChannelError(f"{who!r} cannot be tracked: want a channel, or a hashable object")
    return owner


def _topic(who: Any, topic: str) -> str:
    if topic:
        return topics.check(topic)
    if isinstance(who, Channel):
        return who.topic
    raise ChannelError(f"the topic of {who!r} is unknown: only a channel has one; pass topic=…")


def _key(key: object) -> str:
    text = key if isinstance(key, str) else str(key)
    if len(check_name(text, "key").encode()) > MAX_KEY_BYTES:
        raise ChannelError(f"key {text[:40]!r}… is longer than {MAX_KEY_BYTES} bytes")
    return text
