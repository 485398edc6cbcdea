"""One Presence on one worker, with its tracker.

A change is sent at once as a `presence_diff` to the members that this worker serves. Further changes of the
same topic within `diff_seconds` are collected into one diff, so that a thousand joins do not cause a
thousand diffs for each of a thousand members. The diffs of one presence are sent in order, also if `fetch`
is async. While a `fetch` takes longer than `diff_seconds`, changes are collected further, so that at most
one diff per topic waits.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from hashlib import blake2b
from itertools import count, islice
from time import time_ns
from typing import Any

from mesh import cancellation, contexts
from mesh.app.presence import PRESENCE_DIFF, Presence
from mesh.app.pubsub import LocalBroadcast
from mesh.errors import PayloadError
from mesh.settings import PresenceSettings
from mesh.telemetry import counters, get_logger
from mesh.tracker import foreign
from mesh.tracker.state import Change, Meta
from mesh.tracker.tracker import Publish, Tracker
from mesh.worker.channel.context import WorkerContext
from mesh.worker.presence.calls import Steps, run_to_end, with_time_limit
from mesh.worker.presence.metas import copy_meta, copy_metas_by_key, validated
from mesh.worker.presence.window import DiffWindow

log = get_logger(__name__)

KEYS_PER_DIFF = 2_000
"""The most keys in one diff: a node that returns brings all its presences at once."""


class PresenceServer:
    """One Presence on one worker. Implements PresenceContext."""

    def __init__(
        self,
        presence: Presence,
        node: str,
        publish: Publish,
        settings: PresenceSettings,
        local_broadcast: LocalBroadcast,
    ) -> None:
        self.presence = presence
        self.tracker = Tracker(presence.name, node, publish, settings, self._changed)
        self._local_broadcast = local_broadcast
        self._diff_seconds = settings.diff_seconds
        self._refs = _refs(node)
        self._windows: dict[str, DiffWindow] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._diffs: deque[tuple[str, list[Change]]] = deque()
        self._unsent_topics: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._has_handle_metas = type(presence).handle_metas is not Presence.handle_metas
        self._has_moved_in = False
        self._moved_out_by_ref: dict[str, tuple[Hashable, str, str]] = {}
        self._moved_out_by_owner: dict[Hashable, list[str]] = {}

    def close(self) -> None:
        """Announce to the other workers that this one stops, and drop diffs that were not sent."""
        for timer in self._timers.values():
            timer.cancel()
        self._diffs.clear()
        if self._task is not None:
            self._task.cancel()
        self.tracker.close()
        self.presence.bind(None)

    @property
    def busy(self) -> bool:
        """Whether a diff still has to be sent."""
        return self._task is not None or any(map(len, self._windows.values()))

    # PresenceContext

    def track(self, owner: Hashable, topic: str, key: str, meta: Meta) -> str:
        """Track a key on a topic; return its `phx_ref`."""
        _require_live(owner, "track")
        ref = next(self._refs)
        self.tracker.track(owner, topic, key, validated(meta) | {"phx_ref": ref})
        return ref

    def update(self, owner: Hashable, topic: str, key: str, meta: Callable[[Meta], Meta]) -> str:
        """Replace the meta of a tracked key; return its new `phx_ref`."""
        _require_live(owner, "update")
        self._gossip_moves()
        ref = next(self._refs)

        def make(old: Meta) -> Meta:
            return validated(meta(copy_meta(old))) | {"phx_ref": ref, "phx_ref_prev": old["phx_ref"]}

        self.tracker.update(owner, topic, key, make)
        return ref

    def untrack(self, owner: Hashable, topic: str, key: str) -> None:
        """Stop tracking a key on a topic."""
        self._gossip_moves()
        self.tracker.untrack(owner, topic, key)

    def untrack_all(self, owner: Hashable) -> None:
        """Stop tracking everything that `owner` tracks."""
        self._gossip_moves()
        if self._moved_out_by_owner:
            for ref in self._moved_out_by_owner.pop(owner, ()):
                self._moved_out_by_ref.pop(ref, None)
        self.tracker.untrack_all(owner)

    def get_by_topic(self, topic: str) -> dict[str, list[Meta]]:
        """Return the metas of each key on a topic."""
        self._note_list_read(topic)
        return copy_metas_by_key(self.tracker.get_by_topic(topic))

    def get_by_key(self, topic: str, key: str) -> list[Meta]:
        """Return the metas of one key on a topic."""
        self._note_list_read(topic)
        return [copy_meta(meta) for meta in self.tracker.get_by_key(topic, key)]

    def _note_list_read(self, topic: str) -> None:
        window = self._windows.get(topic)
        if window is not None:
            window.read()

    # Moving channels

    def tracked(self, owner: Hashable) -> list[tuple[str, str, Meta]]:
        """Return (topic, key, meta) of everything that `owner` tracks."""
        return self.tracker.tracked(owner)

    def move_in(self, owner: Hashable, topic: str, key: str, meta: Meta) -> None:
        """Track what another worker tracked until now; that one removes its entry when it receives this."""
        flaw = foreign.meta_flaw(meta)
        if flaw is not None:  # only possible with a worker of another implementation
            counters.count("link_commands_malformed")
            log.error("presence that moved here dropped", topic=topic, key=key, reason=flaw)
            return
        ref, old = next(self._refs), meta.get("phx_ref")
        self.tracker.track(owner, topic, key, meta | {"phx_ref": ref, "phx_ref_prev": old})
        self._has_moved_in = True

    def _gossip_moves(self) -> None:
        """Send entries that have moved here before they change: the old worker must see that it can go."""
        if self._has_moved_in:
            self._has_moved_in = False
            self.tracker.gossip_now()

    def move_out(self, owner: Hashable) -> None:
        """Keep the entries until another worker tracks the keys: no leave is seen before the join."""
        for topic, key, meta in self.tracked(owner):
            self._moved_out_by_ref[meta["phx_ref"]] = owner, topic, key
            self._moved_out_by_owner.setdefault(owner, []).append(meta["phx_ref"])

    @property
    def all_taken_over(self) -> bool:
        """Return whether other workers now track everything that moved."""
        return not self._moved_out_by_ref

    def _untrack_taken_over(self, changes: list[Change]) -> None:
        for change in changes:
            old_ref = change.meta.get("phx_ref_prev")
            if change.joined and isinstance(old_ref, str) and old_ref in self._moved_out_by_ref:
                self.tracker.untrack(*self._moved_out_by_ref.pop(old_ref))

    # Diffs

    def _changed(self, changes: list[Change]) -> None:
        # Most changes come from a channel's callback, but what follows concerns all members of the topic.
        contexts.fresh().run(self._collect, changes)
        if self._moved_out_by_ref:
            self._untrack_taken_over(changes)

    def _collect(self, changes: list[Change]) -> None:
        by_topic: dict[str, list[Change]] = {}
        for change in changes:
            by_topic.setdefault(change.topic, []).append(change)
        for topic, each in by_topic.items():
            window = self._windows.get(topic)
            if window is None:
                window = self._open_window(topic)
                if topic not in self._unsent_topics:
                    self._queue_first(topic, each)
                    continue
            window.add(each)

    def _queue_first(self, topic: str, changes: list[Change]) -> None:
        if len(changes) > 1:  # a tracker of another implementation may use a ref again
            first = DiffWindow()
            first.add(changes)
            changes = first.net()
        if changes:
            self._queue_diff(topic, changes)

    def _open_window(self, topic: str) -> DiffWindow:
        window = self._windows[topic] = DiffWindow()
        self._schedule_close(topic)
        return window

    def _schedule_close(self, topic: str) -> None:
        loop = asyncio.get_running_loop()
        self._timers[topic] = loop.call_later(self._diff_seconds, self._close_window, topic)

    def _close_window(self, topic: str) -> None:
        if self._windows[topic] and topic in self._unsent_topics:
            return self._schedule_close(topic)
        changes = self._windows.pop(topic).net()
        del self._timers[topic]
        if changes:
            self._open_window(topic)
            self._queue_diff(topic, changes)

    def flush(self, topic: str) -> None:
        """Send the changes collected so far, unless an earlier diff of the topic still waits for `fetch`.

        A client that moves to another worker may already have missed the same changes there.
        """
        if self._windows.get(topic) and topic not in self._unsent_topics:
            self._timers[topic].cancel()
            contexts.fresh().run(self._close_window, topic)

    def _queue_diff(self, topic: str, changes: list[Change]) -> None:
        self._diffs.append((topic, changes))
        self._unsent_topics.add(topic)
        self._send()

    def _send(self) -> None:
        while self._diffs and self._task is None:  # otherwise a fetch is in progress
            steps = self._send_diffs()
            try:
                waiting = steps.send(None)
            except StopIteration:
                return
            except Exception as error:
                self._log_lost_diff(error)
            else:
                loop = asyncio.get_running_loop()
                self._task = loop.create_task(run_to_end(steps, waiting), name="presence diffs")
                self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            self._log_lost_diff(task.exception())
        self._send()

    def _log_lost_diff(self, error: BaseException | None) -> None:
        log.error("presence diff lost", presence=self.presence.name, exc_info=error)

    def _send_diffs(self) -> Steps:
        while self._diffs:
            topic, changes = self._diffs.popleft()
            try:
                for part in _parts(changes):
                    yield from self._send_part(topic, part)
            finally:
                self._unsent_topics.discard(topic)

    def _send_part(self, topic: str, changes: list[Change]) -> Steps:
        joins = yield from self._fetch(topic, changes, True)
        leaves = yield from self._fetch(topic, changes, False)
        diff = {"joins": joins, "leaves": leaves}
        try:
            self._local_broadcast(topic, PRESENCE_DIFF, diff)
        except PayloadError as error:
            counters.count("presence_diffs_unencodable")
            log.error("presence diff dropped", topic=topic, reason=str(error))
        yield from self._call_handle_metas(topic, diff)

    def _fetch(self, topic: str, changes: Iterable[Change], joined: bool) -> Steps:
        found: dict[str, dict[str, Any]] = {}
        for change in changes:
            if change.joined is joined:
                found.setdefault(change.key, {"metas": []})["metas"].append(copy_meta(change.meta))
        if not found:
            return found
        result = yield from self._call("fetch", self.presence.fetch, topic, found)
        return found if result is None else result

    def _call_handle_metas(self, topic: str, diff: dict[str, Any]) -> Steps:
        if self._has_handle_metas:
            now = copy_metas_by_key(self.tracker.get_by_topic(topic))
            yield from self._call("handle_metas", self.presence.handle_metas, topic, diff, now)

    def _call(self, name: str, callback: Callable[..., Any], topic: str, *arguments: Any) -> Steps:
        """Call the application. An exception or time-out is logged and affects only this call."""
        context = contexts.fresh()
        try:
            result = contexts.call(context, callback, topic, *arguments)
            if hasattr(result, "__await__"):
                result = yield with_time_limit(result)
        except BaseException as error:
            if cancellation.must_propagate(error):
                raise
            counters.count("presence_callbacks_failed")
            context.run(
                log.error,
                "presence callback failed",
                presence=self.presence.name,
                callback=name,
                topic=topic,
                exc_info=error,
            )
            return None
        return result


def _refs(node: str) -> Iterator[str]:
    """Yield values of `phx_ref`, of 16 characters: 8 bytes of the clock, 2 of the node, 2 of a counter."""
    node_hash = blake2b(node.encode(), digest_size=2).digest()
    now = 0
    for number in count():
        now = max(now + 1, time_ns())  # the clock may be set back, and refs must be unique
        yield urlsafe_b64encode(
            now.to_bytes(8, "big") + node_hash + (number % 65_536).to_bytes(2, "big")
        ).decode()


def _require_live(owner: Hashable, verb: str) -> None:
    """Raise ChannelError for a channel that has ended. For other owners this is not known."""
    if isinstance(owner, WorkerContext):
        owner.require_live(verb)


def _parts(changes: list[Change]) -> Iterator[list[Change]]:
    """Split changes into diffs of KEYS_PER_DIFF keys. A leave and a join of one key stay in one diff."""
    by_key: dict[str, list[Change]] = {}
    for change in changes:
        by_key.setdefault(change.key, []).append(change)
    keys = iter(by_key.values())
    while part := list(islice(keys, KEYS_PER_DIFF)):
        yield [change for each in part for change in each]
