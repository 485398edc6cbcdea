"""One replica of a tracker: gossips what it tracks, merges what others track, reports changes.

Source: Phoenix.Tracker and its shard. Differences: a change is gossiped within `broadcast_seconds` (0.1),
not with the next heartbeat; a replica that a gateway reports as lost is down at once, unless it answers.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import msgspec

from mesh import contexts
from mesh.app import topics
from mesh.bus.frames import TRACKER
from mesh.errors import AlreadyTrackedError, NotTrackedError, WireError
from mesh.settings import PresenceSettings
from mesh.telemetry import Complaints, get_logger
from mesh.tracker import foreign, messages
from mesh.tracker.messages import Goodbye, Gossip, Request, Transfer
from mesh.tracker.outgoing import Outgoing
from mesh.tracker.replicas import Replicas
from mesh.tracker.state import Change, Delta, Entry, Meta, State

log = get_logger(__name__)
_malformed = Complaints(log, "tracker message dropped")
_complaints = Complaints(log, "presence of another node dropped")

REQUEST_AGAIN_SECONDS = 0.5
"""A request or its answer may be lost, so requests are repeated, but not more often than this."""
ANSWER_SECONDS = 0.2
"""How long a replica that was reported lost may take to answer: the fault may be the reporter's."""


class Publish(Protocol):
    """Publishes a tracker's messages on the bus."""

    def __call__(self, kind: int, topic: str, event: str, codec: int, data: bytes) -> Any:
        """Publish a message of this kind."""


class Tracker:
    """One replica of one tracker.

    Args:
        name: the name of the tracker, equal on all nodes.
        node: the id of this node, new with every start.
        publish: publishes a message on the bus.
        settings: the settings of presence.
        on_changes: called with the entries that appeared and disappeared, here or elsewhere, in order.
    """

    def __init__(
        self,
        name: str,
        node: str,
        publish: Publish,
        settings: PresenceSettings,
        on_changes: Callable[[list[Change]], None],
    ) -> None:
        self.name = name
        self.topic = f"{topics.PRESENCE}:{name}"
        self._node = node
        self._publish = publish
        self._settings = settings
        self._on_changes = on_changes
        self._state = State(node)
        self._outgoing = Outgoing(name)
        self._replicas = Replicas(settings.down_seconds, settings.permdown_seconds)
        self._owned: dict[Hashable, dict[tuple[str, str], int]] = {}
        self._gossiped_clock = 0
        self._requested: dict[str, float] = {}
        self._clocks: dict[str, int] = {}
        self._returning: set[str] = set()
        self._suspected: dict[str, asyncio.TimerHandle] = {}
        self._gossip_timer: asyncio.TimerHandle | None = None
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        self._last_heartbeat = 0.0
        self._resumed_at = float("-inf")

    # Start and stop

    def start(self) -> None:
        """Announce this replica, then gossip with every heartbeat. The bus is subscribed to `topic`."""
        self._last_heartbeat = asyncio.get_running_loop().time()
        self._gossip(hello=True)
        self._schedule_heartbeat()

    def close(self) -> None:
        """Announce the stop to the others, which then forget this replica at once."""
        for timer in (self._gossip_timer, self._heartbeat_timer, *self._suspected.values()):
            if timer is not None:
                timer.cancel()
        self._gossip_timer = self._heartbeat_timer = None
        self._send(self.topic, Goodbye())

    # Tracking

    def track(self, owner: Hashable, topic: str, key: str, meta: Meta) -> None:
        """Track `key` on `topic` for `owner`.

        Raises:
            AlreadyTrackedError: if `owner` already tracks it.
        """
        owned = self._owned.setdefault(owner, {})
        if (topic, key) in owned:
            raise AlreadyTrackedError(
                f"{key!r} is already tracked on {topic!r} by this channel; use update"
            )
        self._on_changes([self._add(owned, topic, key, meta)])

    def update(self, owner: Hashable, topic: str, key: str, meta: Callable[[Meta], Meta]) -> None:
        """Replace a meta that `owner` tracks by the result of `meta(old)`.

        Raises:
            NotTrackedError: if `owner` does not track the key on the topic.
        """
        owned = self._owned.get(owner, {})
        clock = owned.get((topic, key))
        if clock is None:
            raise NotTrackedError(f"{key!r} is not tracked on {topic!r} by this channel; use track")
        new = meta(self._state.entry(clock).meta)
        old = self._state.remove(clock)
        self._on_changes([_leave(old), self._add(owned, topic, key, new)])

    def untrack(self, owner: Hashable, topic: str, key: str) -> None:
        """Stop tracking `key` on `topic` for `owner`. Has no effect if it is not tracked."""
        owned = self._owned.get(owner)
        clock = owned.pop((topic, key), None) if owned is not None else None
        if clock is None:
            return
        if not owned:
            del self._owned[owner]
        self._on_changes([_leave(self._state.remove(clock))])
        self._gossip_soon()

    def untrack_all(self, owner: Hashable) -> None:
        """Stop tracking everything that `owner` tracks."""
        owned = self._owned.pop(owner, None)
        if owned:
            self._on_changes([_leave(self._state.remove(clock)) for clock in owned.values()])
            self._gossip_soon()

    def tracked(self, owner: Hashable) -> list[tuple[str, str, Meta]]:
        """Return (topic, key, meta) of everything that `owner` tracks."""
        owned = self._owned.get(owner, {})
        return [(topic, key, self._state.entry(clock).meta) for (topic, key), clock in owned.items()]

    def get_by_topic(self, topic: str) -> dict[str, list[Meta]]:
        """Return the metas of each key on a topic."""
        return self._state.get_by_topic(topic)

    def get_by_key(self, topic: str, key: str) -> list[Meta]:
        """Return the metas of one key; empty if it is not present."""
        return self._state.get_by_key(topic, key)

    def _add(self, owned: dict[tuple[str, str], int], topic: str, key: str, meta: Meta) -> Change:
        entry = self._state.add(topic, key, meta)
        owned[topic, key] = entry.clock
        self._gossip_soon()
        return Change(True, topic, key, meta)

    # Sending

    def gossip_now(self) -> None:
        """Gossip now, if there is anything to gossip."""
        if self._gossip_timer is not None:
            self._gossip_timer.cancel()
            self._gossip_due()

    def _gossip_soon(self) -> None:
        if self._gossip_timer is None and self._heartbeat_timer is not None:
            loop = asyncio.get_running_loop()
            seconds, context = self._settings.broadcast_seconds, contexts.fresh()
            self._gossip_timer = loop.call_later(seconds, self._gossip_due, context=context)

    def _gossip_due(self) -> None:
        self._gossip_timer = None
        if not self._was_frozen(asyncio.get_running_loop().time()):
            self._gossip()

    def _gossip(self, hello: bool = False) -> None:
        deltas = self._state.deltas(self._gossiped_clock)
        for delta in deltas:
            self._send(self.topic, Gossip(messages.VERSION, delta.clock, delta, hello))
            self._gossiped_clock = (
                delta.clock
            )  # only now: what could not be sent is sent with the next gossip
        if not deltas:
            self._send(self.topic, Gossip(messages.VERSION, self._gossiped_clock, None, hello))

    def _send(self, topic: str, message: messages.TrackerMessage) -> None:
        self._publish(TRACKER, topic, self.name, 0, self._outgoing.encode(message))

    def _schedule_heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        self._heartbeat_timer = loop.call_later(self._settings.heartbeat_seconds, self._heartbeat)

    def _heartbeat(self) -> None:
        self._schedule_heartbeat()  # first, so that the next heartbeat comes whatever raises below
        now = asyncio.get_running_loop().time()
        was_frozen = self._was_frozen(now)
        self._last_heartbeat = now
        if was_frozen:
            self._resumed_at = now
            self._replicas.resume(now)
            return
        self._gossip()
        down, permanently_down = self._replicas.expire(now)
        for replica in down:
            log.warning("replica is silent: its presences leave", tracker=self.name, replica=replica)
            self._hide(replica)
        for replica in permanently_down:
            self._forget(replica)

    def _was_frozen(self, now: float) -> bool:
        """Return whether this process has just missed its own heartbeats.

        In that case the others were not silent. And our own entries may be out of date: the links must
        first find out which channels have ended in the meantime.
        """
        return now - self._last_heartbeat > 1.5 * self._settings.heartbeat_seconds

    # Receiving

    def handle(self, replica: str, data: bytes) -> None:
        """Handle a message of another replica."""
        if replica == self._node:
            return
        try:
            message = messages.decode(data)
        except WireError as error:
            _malformed.about(replica, "bus_messages_malformed", str(error), tracker=self.name)
            return
        self._clear_suspicion(replica)
        if isinstance(message, Goodbye):
            self._replicas.forget(replica)
            self._forget(replica)
            return
        if self._replicas.record_message(replica, asyncio.get_running_loop().time()):
            self._returning.add(replica)
        if isinstance(message, Gossip):
            self._on_gossip(replica, message)
        elif isinstance(message, Request):
            for delta in self._state.deltas(message.since):
                self._send(topics.of_node(replica), Transfer(delta))
        else:
            self._merge(replica, message.delta)
            self._catch_up(replica)

    def lost(self, replica: str) -> None:
        """A node reported a replica as lost: unless it answers soon, its presences leave."""
        if replica not in self._suspected and self._replicas.is_up(replica):
            loop = asyncio.get_running_loop()
            self._suspected[replica] = loop.call_later(ANSWER_SECONDS, self._suspicion_expired, replica)

    def refute_loss(self) -> None:
        """A node reported this replica as lost: gossip to refute that, unless this process was frozen."""
        now = asyncio.get_running_loop().time()
        if not self._was_frozen(now) and now - self._resumed_at > self._settings.heartbeat_seconds:
            self._gossip()

    def _suspicion_expired(self, replica: str) -> None:
        del self._suspected[replica]
        if self._replicas.lost(replica):
            self._hide(replica)

    def _clear_suspicion(self, replica: str) -> None:
        timer = self._suspected.pop(replica, None)
        if timer is not None:
            timer.cancel()

    def _on_gossip(self, replica: str, gossip: Gossip) -> None:
        if gossip.hello:
            self._gossip_soon()
        if gossip.delta is not None:
            self._merge(replica, gossip.delta)
        self._clocks[replica] = gossip.clock
        self._catch_up(replica)

    def _catch_up(self, replica: str) -> None:
        """Request what is missing of a replica; show its presences once nothing is missing.

        Otherwise a presence could appear for a moment although it has left in the meantime.
        """
        if self._state.clock_of(replica) < self._clocks.get(replica, 0):
            self._request(replica)
        elif replica in self._returning and replica in self._clocks:
            self._returning.discard(replica)
            self._report(self._state.show(replica))

    def _merge(self, replica: str, delta: Delta) -> None:
        usable = tuple(entry for entry in delta.added if _is_usable(replica, entry))
        if len(usable) < len(delta.added):
            delta = msgspec.structs.replace(delta, added=usable)
        changes = self._state.merge(replica, delta)
        if changes is not None:
            self._report(changes)

    def _request(self, replica: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._requested.get(replica, float("-inf")) < REQUEST_AGAIN_SECONDS:
            return
        self._requested[replica] = now
        self._send(topics.of_node(replica), Request(self._state.clock_of(replica)))

    def _hide(self, replica: str) -> None:
        self._returning.discard(replica)
        self._report(self._state.hide(replica))

    def _forget(self, replica: str) -> None:
        self._returning.discard(replica)
        self._requested.pop(replica, None)
        self._clocks.pop(replica, None)
        self._report(self._state.forget(replica))

    def _report(self, changes: list[Change]) -> None:
        if changes:
            self._on_changes(changes)


def _leave(entry: Entry) -> Change:
    return Change(False, entry.topic, entry.key, entry.meta)


def _is_usable(replica: str, entry: Entry) -> bool:
    flaw = foreign.flaw(entry)
    if flaw is not None:
        _complaints.about(replica, "bus_messages_malformed", flaw, topic=entry.topic, key=entry.key)
    return flaw is None
