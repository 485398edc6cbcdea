"""One client's connection and channels: every protocol decision, without I/O.

`mesh.client.client` feeds what happens, with the time, and carries out the actions returned, in order;
it feeds a Tick when `deadline` is reached. Source: phoenix.js 1.8 socket.js, channel.js, push.js, timer.js.
Two things differ: a push whose channel or connection ended before its reply fails at once (PushLost)
instead of by its time-out, and a first join that fails closes its channel instead of being tried again.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, Literal, NamedTuple

from mesh.client.options import Options, step
from mesh.messages import CLOSE, ERROR, HEARTBEAT, HEARTBEAT_TOPIC, LEAVE, REPLY

State = Literal["closed", "joining", "joined", "errored", "leaving"]
Why = Literal["timeout", "lost", "closed", "full"]


class ChannelState:
    """One channel.

    Attributes:
        topic: of the channel.
        state: as in phoenix.js: closed, joining, joined, errored (it will be joined again), leaving.
        join_ref: of the last join that was sent.
        timeout: for joins, in seconds.
    """

    __slots__ = (
        "answer_by", "buffer", "first_by", "join_ref", "leave_by", "leave_ref", "rejoin_at", "sent",
        "state", "timeout", "topic", "tries",
    )  # fmt: skip

    def __init__(self, topic: str, timeout: float) -> None:
        self.topic = topic
        self.state: State = "closed"
        self.join_ref: str | None = None
        self.timeout = timeout
        self.tries = 0
        self.leave_ref: str | None = None
        self.buffer: dict[PushState, None] = {}
        self.sent: dict[str, PushState] = {}
        self.first_by: float | None = None
        self.answer_by: float | None = None
        self.rejoin_at: float | None = None
        self.leave_by: float | None = None


class PushState:
    """One push; with `wants_reply` False nobody waits for the reply."""

    __slots__ = ("channel", "due", "event", "payload", "ref", "timeout", "wants_reply")

    def __init__(
        self, channel: ChannelState, event: str, payload: Any, timeout: float, wants_reply: bool = True
    ) -> None:
        self.channel = channel
        self.event = event
        self.payload = payload
        self.timeout = timeout
        self.wants_reply = wants_reply
        self.ref: str | None = None
        self.due: float | None = None


# Events


class Start(NamedTuple):
    """Connect, and stay connected."""


class Opened(NamedTuple):
    """The connection that Connect asked for is open."""


class Closed(NamedTuple):
    """It ended, or could not be opened."""

    reason: str


class Received(NamedTuple):
    """A message came."""

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    payload: Any


class Join(NamedTuple):
    """Join a channel that is closed."""

    channel: ChannelState


class Leave(NamedTuple):
    """Leave a channel."""

    channel: ChannelState


class Push(NamedTuple):
    """Send a push, now or as soon as its channel is joined."""

    push: PushState


class Forget(NamedTuple):
    """Nobody waits for this push any longer; unsent, it is not sent."""

    push: PushState


class Stop(NamedTuple):
    """Close everything, for good."""


class Tick(NamedTuple):
    """Time has passed."""


Event = Start | Opened | Closed | Received | Join | Leave | Push | Forget | Stop | Tick


# Actions


class Connect(NamedTuple):
    """Open a connection, instead of any before."""


class Disconnect(NamedTuple):
    """Close the connection."""

    code: int
    reason: str


class Send(NamedTuple):
    """Send a message."""

    join_ref: str | None
    ref: str
    topic: str
    event: str
    payload: Any


class SendJoin(NamedTuple):
    """Send a channel's join, with its parameters as they are now."""

    channel: ChannelState
    ref: str


class Deliver(NamedTuple):
    """A push or broadcast for the application."""

    channel: ChannelState
    event: str
    payload: Any


class Replied(NamedTuple):
    """The reply to a push."""

    push: PushState
    status: str
    response: Any


class Failed(NamedTuple):
    """A push gets no reply."""

    push: PushState
    why: Why


class Joined(NamedTuple):
    """A join, the first or a later one, succeeded."""

    channel: ChannelState
    response: Any


class Refused(NamedTuple):
    """A join was refused; if it was the first, the channel is closed."""

    channel: ChannelState
    response: Any


class JoinTimedOut(NamedTuple):
    """A join was not answered in time; if it was the first, the channel is closed."""

    channel: ChannelState


class Changed(NamedTuple):
    """A channel's state is another."""

    channel: ChannelState
    state: State
    reason: str


Action = (
    Connect | Disconnect | Send | SendJoin | Deliver | Replied | Failed | Joined | Refused | JoinTimedOut
    | Changed
)  # fmt: skip


class Session:
    """What one client knows.

    Attributes:
        connected: whether the connection is open.
    """

    def __init__(self, options: Options) -> None:
        self.connected = False
        self.heartbeat_at: float | None = None
        self.heartbeat_by: float | None = None
        self.reconnect_at: float | None = None
        self._options = options
        self._wanted = False
        self._tries = 0
        self._refs = count(1)
        self._heartbeat_ref: str | None = None
        self._channels: dict[str, list[ChannelState]] = {}
        self._timers: list[tuple[float, int, Any, str]] = []
        self._numbers = count()

    def handle(self, event: Event, now: float) -> list[Action]:
        """What follows from `event`, which happened at `now`, in seconds of any clock."""
        return _HANDLERS[type(event)](self, event, now)

    @property
    def deadline(self) -> float | None:
        """When the next Tick is due."""
        timers = self._timers
        while timers and getattr(timers[0][2], timers[0][3]) != timers[0][0]:
            heapq.heappop(timers)  # taken back meanwhile
        return timers[0][0] if timers else None

    # The connection

    def _start(self, _event: Start, _now: float) -> list[Action]:
        self._wanted = True
        return [Connect()]

    def _opened(self, _event: Opened, now: float) -> list[Action]:
        self.connected = True
        self._tries = 0
        self.reconnect_at = None
        self._heartbeat_ref = self.heartbeat_by = None
        self._arm(self, "heartbeat_at", now + self._options.heartbeat_seconds)
        actions: list[Action] = []
        for channel in self._all():
            channel.tries = 0
            channel.rejoin_at = None
            if channel.state == "errored":
                actions += self._rejoin(channel, now)
        return actions

    def _closed(self, event: Closed, now: float) -> list[Action]:
        if not self._wanted:
            return []
        self.connected = False
        self._heartbeat_ref = self.heartbeat_by = self.heartbeat_at = None
        actions: list[Action] = []
        for channel in self._all():
            channel.tries = 0
            channel.rejoin_at = None
            actions += self._error(channel, event.reason, now)
        self._tries += 1
        self._arm(self, "reconnect_at", now + step(self._options.reconnect_seconds, self._tries))
        return actions

    def _stop(self, _event: Stop, _now: float) -> list[Action]:
        self._wanted = False
        self.reconnect_at = self.heartbeat_at = self.heartbeat_by = None
        actions: list[Action] = []
        for channel in self._all():
            actions += self._end(channel, "the client was closed")
        self.connected = False
        return [*actions, Disconnect(1000, "")]

    def _reconnect(self, _session: "Session", _now: float) -> list[Action]:
        return [Connect()] if self._wanted else []

    def _heartbeat(self, _session: "Session", now: float) -> list[Action]:
        self._heartbeat_ref = self._ref()
        self._arm(self, "heartbeat_by", now + self._options.heartbeat_seconds)
        return [Send(None, self._heartbeat_ref, HEARTBEAT_TOPIC, HEARTBEAT, {})]

    def _heartbeat_missed(self, _session: "Session", now: float) -> list[Action]:
        reason = "heartbeat timeout"
        return [Disconnect(1000, reason), *self._closed(Closed(reason), now)]

    # Channels

    def _join(self, event: Join, now: float) -> list[Action]:
        channel = event.channel
        self._channels.setdefault(channel.topic, []).append(channel)
        self._arm(channel, "first_by", now + channel.timeout)
        if self.connected:
            return self._rejoin(channel, now)
        channel.state = "errored"  # joined when the connection opens
        return []

    def _rejoin(self, channel: ChannelState, now: float) -> list[Action]:
        actions: list[Action] = []
        for other in list(self._channels.get(channel.topic, ())):
            if other is not channel and other.state in ("joined", "joining"):
                actions += self._leave(Leave(other), now)  # phoenix.js: leaveOpenTopic
        channel.state = "joining"
        channel.join_ref = self._ref()
        channel.rejoin_at = None
        self._arm(channel, "answer_by", now + channel.timeout)
        return [*actions, Changed(channel, "joining", ""), SendJoin(channel, channel.join_ref)]

    def _schedule_rejoin(self, channel: ChannelState, now: float) -> None:
        if self.connected:  # else when the connection opens
            channel.tries += 1
            self._arm(channel, "rejoin_at", now + step(self._options.rejoin_seconds, channel.tries))

    def _leave(self, event: Leave, now: float) -> list[Action]:
        channel = event.channel
        if channel.state in ("closed", "leaving"):
            return []
        if not self.connected or channel.join_ref is None or channel.state == "errored":
            return self._end(channel, "left")
        leave = self._send_leave(channel)
        if channel.state == "joining":
            return [leave, *self._end(channel, "left")]
        actions = [leave, *self._fail_all(channel, "closed")]
        channel.leave_ref = leave.ref
        channel.state = "leaving"
        self._arm(channel, "leave_by", now + channel.timeout)
        return [*actions, Changed(channel, "leaving", "left")]

    def _send_leave(self, channel: ChannelState) -> Send:
        return Send(channel.join_ref, self._ref(), channel.topic, LEAVE, {})

    def _error(self, channel: ChannelState, reason: str, now: float) -> list[Action]:
        """The channel crashed, or its connection ended: it will be joined again."""
        if channel.state in ("closed", "errored"):
            return []
        if channel.state == "leaving":
            return self._end(channel, reason)
        channel.state = "errored"
        channel.answer_by = None
        self._schedule_rejoin(channel, now)
        return [*self._fail_sent(channel, "lost"), Changed(channel, "errored", reason)]

    def _end(self, channel: ChannelState, reason: str) -> list[Action]:
        failed = self._fail_all(channel, "closed")
        channel.state = "closed"
        channel.first_by = channel.answer_by = channel.rejoin_at = channel.leave_by = None
        others = self._channels.get(channel.topic, [])
        if channel in others:
            others.remove(channel)
        if not others:
            self._channels.pop(channel.topic, None)
        return [*failed, Changed(channel, "closed", reason)]

    def _overdue_first(self, channel: ChannelState, _now: float) -> list[Action]:
        leave = [self._send_leave(channel)] if channel.state == "joining" else []
        return [*leave, JoinTimedOut(channel), *self._end(channel, "the join was not answered in time")]

    def _overdue_answer(self, channel: ChannelState, now: float) -> list[Action]:
        leave = self._send_leave(channel)
        channel.state = "errored"
        self._schedule_rejoin(channel, now)
        return [leave, JoinTimedOut(channel), Changed(channel, "errored", "the join was not answered")]

    def _rejoin_due(self, channel: ChannelState, now: float) -> list[Action]:
        if self.connected and channel.state == "errored":
            return self._rejoin(channel, now)
        return []

    def _overdue_leave(self, channel: ChannelState, _now: float) -> list[Action]:
        return self._end(channel, "left")

    # Pushes

    def _push(self, event: Push, now: float) -> list[Action]:
        push = event.push
        channel = push.channel
        if channel.state in ("closed", "leaving"):
            return [Failed(push, "closed")]
        if channel.state == "joined":
            return [self._send(push, now)]
        if len(channel.buffer) >= self._options.max_buffered:
            return [Failed(push, "full")]
        channel.buffer[push] = None
        self._arm(push, "due", now + push.timeout)
        return []

    def _send(self, push: PushState, now: float) -> Send:
        channel = push.channel
        push.ref = self._ref()
        if push.wants_reply:
            channel.sent[push.ref] = push
            self._arm(push, "due", now + push.timeout)
        else:
            push.due = None
        return Send(channel.join_ref, push.ref, channel.topic, push.event, push.payload)

    def _forget(self, event: Forget, _now: float) -> list[Action]:
        self._drop(event.push)
        return []

    def _overdue_push(self, push: PushState, _now: float) -> list[Action]:
        self._drop(push)
        return [Failed(push, "timeout")]

    def _drop(self, push: PushState) -> None:
        push.due = None
        push.channel.buffer.pop(push, None)
        if push.ref is not None:
            push.channel.sent.pop(push.ref, None)

    def _fail_sent(self, channel: ChannelState, why: Why) -> list[Action]:
        lost, channel.sent = channel.sent, {}
        for push in lost.values():
            push.due = None
        return [Failed(push, why) for push in lost.values()]

    def _fail_all(self, channel: ChannelState, why: Why) -> list[Action]:
        waiting, channel.buffer = channel.buffer, {}
        for push in waiting:
            push.due = None
        return [*self._fail_sent(channel, why), *(Failed(push, why) for push in waiting)]

    # Messages

    def _received(self, message: Received, now: float) -> list[Action]:
        if not self.connected:
            return []
        if message.topic == HEARTBEAT_TOPIC:
            return self._heard(message, now)
        if not isinstance(message.topic, str) or not isinstance(message.event, str):
            return []
        actions: list[Action] = []
        for channel in list(self._channels.get(message.topic, ())):
            # phoenix.js: isMember. What carries an older join_ref is for a channel that is gone.
            if message.join_ref is None or message.join_ref == channel.join_ref:
                handle = _MESSAGES.get(message.event, Session._delivered)
                actions += handle(self, channel, message, now)
        return actions

    def _heard(self, message: Received, now: float) -> list[Action]:
        if message.ref is not None and message.ref == self._heartbeat_ref:
            self._heartbeat_ref = self.heartbeat_by = None
            self._arm(self, "heartbeat_at", now + self._options.heartbeat_seconds)
        return []

    def _delivered(self, channel: ChannelState, message: Received, _now: float) -> list[Action]:
        if channel.state not in ("joined", "joining"):
            return []
        return [Deliver(channel, message.event, message.payload)]

    def _replied(self, channel: ChannelState, message: Received, now: float) -> list[Action]:
        reply = message.payload
        if not isinstance(reply, dict) or not isinstance(reply.get("status"), str):
            return []
        status, response, ref = reply["status"], reply.get("response"), message.ref
        if not isinstance(ref, str):
            return []
        if ref == channel.join_ref:
            return self._join_answered(channel, status, response, now)
        if ref == channel.leave_ref:
            return self._end(channel, "left")
        push = channel.sent.pop(ref, None)
        if push is None:
            return []
        push.due = None
        return [Replied(push, status, response)]

    def _join_answered(self, channel: ChannelState, status: str, response: Any, now: float) -> list[Action]:
        if channel.state != "joining":
            return []
        channel.answer_by = None
        if status != "ok":
            return self._join_refused(channel, response, now)
        channel.state = "joined"
        channel.first_by = None
        channel.tries = 0
        waiting, channel.buffer = channel.buffer, {}
        changed = Changed(channel, "joined", "")
        return [Joined(channel, response), changed, *(self._send(push, now) for push in waiting)]

    def _join_refused(self, channel: ChannelState, response: Any, now: float) -> list[Action]:
        if channel.first_by is not None:
            return [Refused(channel, response), *self._end(channel, "refused")]
        channel.state = "errored"
        self._schedule_rejoin(channel, now)
        return [Refused(channel, response), Changed(channel, "errored", "refused")]

    def _channel_closed(self, channel: ChannelState, _message: Received, _now: float) -> list[Action]:
        return self._end(channel, "left" if channel.state == "leaving" else "closed by the server")

    def _channel_crashed(self, channel: ChannelState, _message: Received, now: float) -> list[Action]:
        return self._error(channel, "the channel crashed", now)

    # Time

    def _arm(self, of: Any, name: str, when: float) -> None:
        """Set a deadline, which is an attribute of what it is for; to take it back, set that to None."""
        setattr(of, name, when)
        heapq.heappush(self._timers, (when, next(self._numbers), of, name))

    def _tick(self, _event: Tick, now: float) -> list[Action]:
        actions: list[Action] = []
        while self._timers and self._timers[0][0] <= now:
            when, _, of, name = heapq.heappop(self._timers)
            if getattr(of, name) == when:
                setattr(of, name, None)
                actions += _DUE[name](self, of, now)
        return actions

    # Helpers

    def _ref(self) -> str:
        return str(next(self._refs))

    def _all(self) -> list[ChannelState]:
        return [channel for channels in self._channels.values() for channel in channels]


_HANDLERS: dict[type[Any], Callable[[Session, Any, float], list[Action]]] = {
    Start: Session._start,
    Opened: Session._opened,
    Closed: Session._closed,
    Received: Session._received,
    Join: Session._join,
    Leave: Session._leave,
    Push: Session._push,
    Forget: Session._forget,
    Stop: Session._stop,
    Tick: Session._tick,
}
_MESSAGES: dict[Any, Callable[[Session, ChannelState, Received, float], list[Action]]] = {
    REPLY: Session._replied,
    CLOSE: Session._channel_closed,
    ERROR: Session._channel_crashed,
}
_DUE: dict[str, Callable[[Session, Any, float], list[Action]]] = {
    "heartbeat_at": Session._heartbeat,
    "heartbeat_by": Session._heartbeat_missed,
    "reconnect_at": Session._reconnect,
    "first_by": Session._overdue_first,
    "answer_by": Session._overdue_answer,
    "rejoin_at": Session._rejoin_due,
    "leave_by": Session._overdue_leave,
    "due": Session._overdue_push,
}
