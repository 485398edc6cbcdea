"""Who is on a topic, kept current from `presence_state` and `presence_diff`, without I/O.

Source: phoenix.js's presence.js, with the same results (tests/clients/test_python_client.py compares them).
"""

from collections.abc import Callable
from typing import Any, TypeVar

Entry = dict[str, Any]
"""`{"metas": [{"phx_ref": …, …}, …], …}`: the server's `fetch` may add more keys."""
State = dict[str, Entry]
OnJoin = Callable[[str, Entry | None, Entry], object]
OnLeave = Callable[[str, Entry, Entry], object]
T = TypeVar("T")


def _ignore(_key: str, _current: Entry | None, _changed: Entry) -> None:
    """Ignore a join or leave."""


class Presence:
    """Who is present on a topic.

    Attributes:
        state: the entries by key, oldest first. Each change makes a new dict; earlier ones do not change.
    """

    def __init__(self) -> None:
        self.state: State = {}
        self._join_ref: str | None = None
        self._pending: list[dict[str, State]] = []
        self._pending_ref: str | None = None
        self._on_join: OnJoin = _ignore
        self._on_leave: OnLeave = _ignore
        self._on_sync: Callable[[], object] | None = None

    def on_join(self, callback: OnJoin) -> None:
        """Call `callback(key, the entry before or None, what joined)`; replaces an earlier callback."""
        self._on_join = callback

    def on_leave(self, callback: OnLeave) -> None:
        """Call `callback(key, the entry now, what left)`; the entry now may have no metas."""
        self._on_leave = callback

    def on_sync(self, callback: Callable[[], object]) -> None:
        """Call `callback()` after each change, and at once if the state has already arrived."""
        self._on_sync = callback
        if self._join_ref is not None:
            callback()

    def list(self, choose: Callable[[str, Entry], T] | None = None) -> list[Any]:
        """Return the entries, or `choose(key, entry)` for each of them; oldest first."""
        return [entry if choose is None else choose(key, entry) for key, entry in self.state.items()]

    def synced(self, state: State, join_ref: str | None) -> None:
        """Apply a `presence_state` of the join with this ref."""
        self._join_ref = join_ref
        self.state = sync_state(self.state, state, self._on_join, self._on_leave)
        pending, self._pending = self._pending, []
        for diff in pending if self._pending_ref == join_ref else ():  # not those of an earlier join
            self.state = sync_diff(self.state, diff, self._on_join, self._on_leave)
        self._call_on_sync()

    def _call_on_sync(self) -> None:
        if self._on_sync is not None:
            self._on_sync()

    def changed(self, diff: dict[str, State], join_ref: str | None) -> None:
        """Apply a `presence_diff`, or keep it until the state of the join with this ref has arrived."""
        if self._join_ref is None or self._join_ref != join_ref:
            if self._pending_ref != join_ref:
                self._pending_ref = join_ref
                self._pending.clear()
            self._pending.append(diff)
            return
        self.state = sync_diff(self.state, diff, self._on_join, self._on_leave)
        self._call_on_sync()


def sync_state(
    current: State, state: State, on_join: OnJoin = _ignore, on_leave: OnLeave = _ignore
) -> State:
    """Return `current` changed to `state`, by joins and leaves."""
    joins: State = {}
    leaves: State = {key: entry for key, entry in current.items() if key not in state}
    for key, entry in state.items():
        before = current.get(key)
        if before is None:
            joins[key] = entry
            continue
        joined, left = _without(entry, before), _without(before, entry)
        if joined:
            joins[key] = {**entry, "metas": joined}
        if left:
            leaves[key] = {**before, "metas": left}
    return sync_diff(current, {"joins": joins, "leaves": leaves}, on_join, on_leave)


def sync_diff(
    current: State, diff: dict[str, State], on_join: OnJoin = _ignore, on_leave: OnLeave = _ignore
) -> State:
    """Return `current` after a diff's joins and then its leaves; `current` itself is not changed."""
    state = dict(current)
    for key, joined in diff.get("joins", {}).items():
        before = state.get(key)
        kept = [] if before is None else _without(before, joined)
        state[key] = {**joined, "metas": [*kept, *joined["metas"]]}
        on_join(key, before, joined)
    for key, left in diff.get("leaves", {}).items():
        before = state.get(key)
        if before is None:
            continue
        now = state[key] = {**before, "metas": _without(before, left)}
        on_leave(key, now, left)
        if not now["metas"]:
            del state[key]
    return state


def _without(entry: Entry, other: Entry) -> list[Any]:
    """Return the metas of `entry` that `other` lacks; a meta is identified by its phx_ref."""
    refs = {meta.get("phx_ref") for meta in other["metas"]}
    return [meta for meta in entry["metas"] if meta.get("phx_ref") not in refs]
