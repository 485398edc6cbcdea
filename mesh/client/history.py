"""A client's position in a topic's history: what joins ask for, and what of the received is new. Pure."""

import inspect
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple

from mesh.errors import ChannelError

STATE, POSITION = "history_state", "history_position"
"""The server's events, which applications do not receive."""
_REF = re.compile(r"([a-z][a-z0-9]*):([0-9]+)")


class Position(NamedTuple):
    """Where a topic's history was read up to; it can be stored as JSON."""

    epoch: str
    offset: int


OnGap = Callable[[Position], object]


class Seen(Enum):
    """What a received event is to the application."""

    NEW = auto()
    """An event to deliver."""
    SKIPPED = auto()
    """A double, or an event of the history itself: nothing to deliver."""
    GAP = auto()
    """The answer that what was missed cannot be recovered."""


class History:
    """Keeps the position in a topic's history, so that each rejoin brings exactly what was missed.

        history = History(last=50, on_gap=lambda position: reload())
        room = await client.join("room:lobby", {"name": "ana"}, history=history)

    A later channel on the topic goes on from the position if it is given the same object. A broadcast
    counts as received when it has arrived, even if it is then dropped because the channel's queue is full.

    Args:
        last: how many of the newest broadcasts the first join asks for; by default none.
        after: a stored position, after which the first join asks for all broadcasts.
        on_gap: called with the new position if what was missed cannot be recovered, so that the
            application can reload; broadcasts go on from that position. Exceptions are logged.

    Attributes:
        position: of the last broadcast that a callback was called with or a loop has read; None until one
            is known. Store it with what the application stores: what waits to be read comes after it.
        arrived: of the last broadcast that has arrived, from which rejoins go on.
        on_gap: as given.

    Raises:
        ChannelError: if both `last` and `after` are given, `after` is not a position, or `on_gap` is a
            coroutine function.
    """

    def __init__(
        self,
        *,
        last: int | None = None,
        after: tuple[str, int] | None = None,
        on_gap: OnGap | None = None,
    ) -> None:
        if last is not None and after is not None:
            raise ChannelError("a history begins with the `last` broadcasts or `after` a position")
        if after is not None and (not isinstance(after, list | tuple) or len(after) != 2):
            raise ChannelError(f"after is {after!r:.100}; want a stored position, (epoch, offset)")
        if inspect.iscoroutinefunction(on_gap):
            raise ChannelError("on_gap is a coroutine function; want a function, which may create a task")
        self.position = self.arrived = None if after is None else Position(*after)
        self.on_gap = on_gap
        self._first: dict[str, int] = {} if last is None else {"last": last}
        self._topic: str | None = None
        self._sent: Position | None = None
        self._answered = False
        self._announced: tuple[Any, Position] | None = None

    def begin(self, topic: str) -> None:
        """Serve a channel on this topic. Raises ChannelError if it has served another topic."""
        if self._topic is not None and self._topic != topic:
            raise ChannelError(f"this history is that of {self._topic!r}; make another for {topic!r}")
        self._topic = topic

    def join_params(self, params: Any) -> dict[str, Any]:
        """Return the parameters of a join that is sent now: `params`, and what it asks for.

        Raises:
            ChannelError: if `params` is neither a dict nor None.
        """
        if params is not None and not isinstance(params, dict):
            raise ChannelError(f"the parameters are {params!r}; to ask for history, want a dict")
        self._sent, self._answered, self._announced = self.arrived, False, None
        asked = self._first if self.arrived is None else self.arrived._asdict()
        return {**(params or {}), "history": asked}

    def received(self, event: str, payload: Any, ref: Any) -> Seen:
        """Move the position by an event of the channel; return what the event is to the application."""
        announced, self._announced = self._announced, None
        if event == STATE:
            return self._joined(payload)
        if event == POSITION:
            return self._own_position(payload)
        match = _REF.fullmatch(ref) if isinstance(ref, str) else None
        if match is not None:
            return self._move(Position(match[1], int(match[2])))
        if announced is not None and announced[0] == event:
            return self._move(announced[1])
        return Seen.NEW

    def _joined(self, answer: Any) -> Seen:
        position = _position(answer)
        if position is None:
            return Seen.SKIPPED
        self._answered = True
        recovered = answer.get("recovered") is True
        if recovered and answer.get("count"):
            return Seen.SKIPPED  # the missed ones move the position, so that after another cut none is lost
        self.position = self.arrived = position
        return Seen.SKIPPED if recovered or self._sent is None else Seen.GAP

    def _own_position(self, payload: Any) -> Seen:
        position = _position(payload)
        if position is not None:
            event = payload.get("event")
            if event is None:
                self._move(position)  # of our own broadcast_from
            else:
                self._announced = (event, position)  # it counts when the binary broadcast has arrived
        return Seen.SKIPPED

    def _move(self, position: Position) -> Seen:
        """Until a join is answered, there may be broadcasts of an earlier one: they come again."""
        last = self.arrived
        double = last is not None and position.epoch == last.epoch and position.offset <= last.offset
        if double or not self._answered:
            return Seen.SKIPPED
        self.position = self.arrived = position
        return Seen.NEW


def _position(payload: Any) -> Position | None:
    if not isinstance(payload, dict):
        return None
    epoch, offset = payload.get("epoch"), payload.get("offset")
    return Position(epoch, offset) if isinstance(epoch, str) and isinstance(offset, int) else None
