"""History: which broadcasts of a topic are kept, so that a client that was away gets what it missed. Pure.

A Channel class declares it, `history = History(messages=100)`. Workers keep the broadcasts (mesh/history),
and every node finds out here which topics and events are kept.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, overload

from mesh.app.topics import check
from mesh.errors import ChannelError, TopicError
from mesh.protocol.messages import DISCONNECT, check_event

NEVER_KEPT = frozenset({"presence_state", "presence_diff", DISCONNECT, ""})
"""Presence has a state of its own, and `disconnect` is an instruction to the gateways. A recorded broadcast
without an event is a recorder's claim (docs/protocol.md)."""
MAX_MESSAGES = 100_000
MAX_BYTES = 64_000_000
"""The most bytes of one topic. Two workers and each recovering client hold them in memory."""
LIST_LIMIT = 50
"""The default number of broadcasts that a query returns."""
_REMEMBERED_TOPICS = 10_000


class KeptBroadcast(NamedTuple):
    """A broadcast of a topic's history.

    Attributes:
        offset: its number in the topic; the next broadcast that is kept has the next number.
        event: its event.
        payload: its payload, decoded.
        at: when it was recorded, as Unix time in seconds.
    """

    offset: int
    event: str
    payload: Any
    at: float


class _Context(Protocol):
    """What reads the history for a channel."""

    async def history(self, limit: int, before: int | None) -> list[KeptBroadcast]: ...


class _Owner(Protocol):
    """A channel, as its history sees it."""

    _context: _Context


class ChannelHistory:
    """The history of one channel's topic: `self.history` in a callback."""

    __slots__ = ("_owner",)

    def __init__(self, owner: _Owner) -> None:
        self._owner = owner

    async def list(self, limit: int = LIST_LIMIT, before: int | None = None) -> "list[KeptBroadcast]":
        """Return the newest kept broadcasts of the topic, the oldest of them first.

        Args:
            limit: the most broadcasts to return.
            before: return only broadcasts with a smaller offset, to page backwards; None for the newest.

        Raises:
            HistoryUnavailableError: if the history cannot be read now.
            ChannelError: if an argument is not an integer of at least 1.
        """
        return await self._owner._context.history(limit, before)


@dataclass(frozen=True)
class History:
    """Which broadcasts of a topic are kept, and how many.

        class RoomChannel(Channel):
            history = History(messages=100, seconds=300, except_events=("typing",))

    In a callback, `self.history.list()` returns them. With `messages=1` the topic is cached: its last
    value comes with every join that asks for the history. Presence events, `disconnect`, and events that
    the class intercepts are never kept.

    Attributes:
        messages: the most broadcasts that are kept of one topic.
        seconds: how long a broadcast is kept.
        bytes: the most bytes of payloads that are kept of one topic.
        events: the events that are kept; None for all others than `except_events`.
        except_events: events that are not kept.

    Raises:
        ChannelError: for an invalid value.
    """

    messages: int = 100
    seconds: float = 300.0
    bytes: int = 1_000_000
    events: Collection[str] | None = None
    except_events: Collection[str] = ()

    def __post_init__(self) -> None:
        """Reject invalid values."""
        _check_count("messages", self.messages, MAX_MESSAGES)
        _check_count("bytes", self.bytes, MAX_BYTES)
        seconds = self.seconds
        if type(seconds) not in (int, float) or not 0 < seconds <= 10**9:
            raise ChannelError(f"History: seconds is {seconds!r}; want a number above 0, at most 10^9")
        for name in ("events", "except_events"):
            _check_events(name, getattr(self, name))
        if self.events is not None and self.except_events:
            raise ChannelError("History: give either events or except_events")
        never = sorted(NEVER_KEPT.intersection(self.events or ()))
        if never:
            raise ChannelError(f"History: {never[0]!r} in events is never kept; leave it out")

    @property
    def cached(self) -> bool:
        """Whether only the last value is kept, and comes with every join that asks."""
        return self.messages == 1

    def check_intercepts(self, name: str, intercepts: Collection[str]) -> None:
        """Raise ChannelError if the class `name` intercepts an event that `events` keeps by name."""
        both = sorted(set(self.events or ()).intersection(intercepts))
        if both:
            raise ChannelError(
                f"{name}.history keeps {both[0]!r}, which the class intercepts: what handle_out sends may"
                " differ for each client and cannot be kept; take the event out of one of the two"
            )

    @overload
    def __get__(self, channel: None, owner: type) -> Self: ...
    @overload
    def __get__(self, channel: Any, owner: type) -> ChannelHistory: ...
    def __get__(self, channel: Any, owner: type) -> "Self | ChannelHistory":
        """Return the configuration for a class, and the topic's history for a channel."""
        return self if channel is None else ChannelHistory(channel)


def check_range(limit: object, before: object) -> None:
    """Raise ChannelError if these are not the arguments of a query for a history."""
    if type(limit) is not int or limit < 1:
        raise ChannelError(f"limit is {limit!r:.100}; want an integer of at least 1")
    if before is not None and (type(before) is not int or before < 1):
        raise ChannelError(f"before is {before!r:.100}; want an offset, an integer of at least 1")


def _check_count(name: str, value: object, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise ChannelError(f"History: {name} is {value!r}; want an integer from 1 to {most:,}")


def _check_events(name: str, events: object) -> None:
    if events is None and name == "events":
        return
    if isinstance(events, str) or not isinstance(events, Collection):
        raise ChannelError(f"History: {name} is {events!r:.100}; want a tuple of events")
    if name == "events" and not events:
        raise ChannelError("History: events is empty, so nothing would be kept; want None for all events")
    for event in events:
        check_event(event)


class KeptRoute:
    """A route whose topics have a history.

    Attributes:
        mount: the path of its mount.
        pattern: its pattern.
        history: what is kept.
    """

    __slots__ = ("_events", "_excluded", "history", "mount", "pattern")

    def __init__(self, mount: str, pattern: str, history: History, intercepts: Collection[str]) -> None:
        self.mount = mount
        self.pattern = pattern
        self.history = history
        self._events = None if history.events is None else frozenset(history.events)
        self._excluded = NEVER_KEPT.union(history.except_events, intercepts)

    @property
    def key(self) -> tuple[str, str]:
        """The mount and pattern, as workers announce them."""
        return self.mount, self.pattern

    def keeps(self, event: str) -> bool:
        """Return whether broadcasts of this event are kept."""
        if event in self._excluded:
            return False
        return self._events is None or event in self._events


class _Channels(Protocol):
    """A Channel class, as far as its history is concerned."""

    intercept: Collection[str]
    history: History | None


class _Route(Protocol):
    @property
    def pattern(self) -> str: ...
    @property
    def channel(self) -> Any: ...


class _Routes(Protocol):
    """The routes of a mount: RouteTable (mesh/app/routes.py)."""

    @property
    def routes(self) -> "tuple[_Route, ...]": ...
    def find(self, topic: str) -> Any: ...


class _Mount(Protocol):
    @property
    def routes(self) -> Any: ...


class KeptTopics:
    """Which topics of an application have a history.

    For each mount in order, the first route that matches a topic is looked up, as for a join; the first of
    these routes whose class has a history decides. It is the same in every node that runs the application.
    It is false if no class has a history.

    Args:
        mounts: path → mount, as in `Endpoint.mounts`.
    """

    def __init__(self, mounts: Mapping[str, _Mount]) -> None:
        self._mounts = {
            path: mount.routes
            for path, mount in mounts.items()
            if any(route.channel.history is not None for route in mount.routes.routes)
        }
        self._routes = {
            (path, route.pattern): KeptRoute(
                path, route.pattern, route.channel.history, route.channel.intercept
            )
            for path, table in self._mounts.items()
            for route in table.routes
            if route.channel.history is not None
        }
        self._found: dict[str, KeptRoute | None] = {}

    def __bool__(self) -> bool:
        return bool(self._routes)

    def __iter__(self) -> Iterator[KeptRoute]:
        return iter(self._routes.values())

    def find(self, topic: str) -> KeptRoute | None:
        """Return the route by which a topic has a history; None if it has none, or is not a valid topic."""
        try:
            return self._found[topic]
        except KeyError:
            pass
        try:
            check(topic)
        except TopicError:
            return None
        if len(self._found) >= _REMEMBERED_TOPICS:
            self._found.clear()
        found = self._found[topic] = self._look_up(topic)
        return found

    def keeps(self, topic: str, event: str) -> bool:
        """Return whether broadcasts of this event on this topic are kept."""
        route = self.find(topic) if self._routes else None
        return route is not None and route.keeps(event)

    def _look_up(self, topic: str) -> KeptRoute | None:
        for path, table in self._mounts.items():
            route = table.find(topic)
            if route is not None and route.channel.history is not None:
                return self._routes[path, route.pattern]
        return None
