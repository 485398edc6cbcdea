"""One client's connection and channels: every protocol decision, without I/O.

`mesh.client.driver` passes events (events.py) and the time to `handle` and carries out the actions returned
(actions.py), in order; at `deadline` it passes a Tick. A connection that ends is opened again, after
increasing delays, until Stop; one on which a heartbeat is not answered in time is closed. A channel whose
connection has ended, or that has crashed, is errored and rejoins; pushes wait meanwhile.
Source: phoenix.js 1.8 socket.js, channel.js, push.js, timer.js, with two differences: a push whose channel
ends before its reply fails at once (PushLost), and a first join that fails closes its channel.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from mesh.client import events
from mesh.client.actions import (
    Action,
    Changed,
    Connect,
    Deliver,
    Disconnect,
    Failed,
    Joined,
    JoinTimedOut,
    Refused,
    Replied,
    Send,
    SendJoin,
)
from mesh.client.channel_state import ChannelState, PushState
from mesh.client.options import Options, retry_delay
from mesh.client.timers import Timers
from mesh.protocol.messages import CLOSE, ERROR, HEARTBEAT, HEARTBEAT_TOPIC, LEAVE, REPLY


class Session:
    """The protocol state of one client.

    Attributes:
        connected: whether the connection is open.
    """

    def __init__(self, options: Options) -> None:
        self.connected = False
        self.heartbeat_at: float | None = None
        self.heartbeat_deadline: float | None = None
        self.reconnect_at: float | None = None
        self._options = options
        self._stays_connected = False
        self._attempts = 0
        self._refs = count(1)
        self._heartbeat_ref: str | None = None
        self._channels: dict[str, list[ChannelState]] = {}
        self._timers = Timers()
        self._arm = self._timers.arm

    def handle(self, event: events.Event, now: float) -> list[Action]:
        """Return the actions for `event`, which happened at `now`, in seconds of any clock."""
        return _HANDLERS[type(event)](self, event, now)

    @property
    def deadline(self) -> float | None:
        """When the next Tick is due, or None."""
        return self._timers.next

    def _tick(self, _event: events.Tick, now: float) -> list[Action]:
        actions: list[Action] = []
        for of, name in self._timers.due(now):
            actions += _DUE[name](self, of, now)
        return actions

    # The connection

    def _start(self, _event: events.Start, _now: float) -> list[Action]:
        self._stays_connected = True
        return [Connect()]

    def _opened(self, _event: events.Opened, now: float) -> list[Action]:
        self.connected = True
        self._attempts = 0
        self.reconnect_at = None
        self._heartbeat_ref = self.heartbeat_deadline = None
        self._arm(self, "heartbeat_at", now + self._options.heartbeat_seconds)
        actions: list[Action] = []
        for channel in self._all_channels():
            channel.reset_rejoin()
            if channel.state == "errored":
                actions += self._send_join(channel, now)
        return actions

    def _closed(self, event: events.Closed, now: float) -> list[Action]:
        if not self._stays_connected:
            return []
        self.connected = False
        self._heartbeat_ref = self.heartbeat_deadline = self.heartbeat_at = None
        actions: list[Action] = []
        for channel in self._all_channels():
            channel.reset_rejoin()
            actions += self._channel_errored(channel, event.reason, now)
        self._attempts += 1
        self._arm(self, "reconnect_at", now + retry_delay(self._options.reconnect_seconds, self._attempts))
        return actions

    def _stop(self, _event: events.Stop, _now: float) -> list[Action]:
        self._stays_connected = False
        self.reconnect_at = self.heartbeat_at = self.heartbeat_deadline = None
        actions: list[Action] = []
        for channel in self._all_channels():
            actions += self._close_channel(channel, "the client was closed")
        self.connected = False
        return [*actions, Disconnect(1000, "")]

    def _reconnect(self, _session: "Session", _now: float) -> list[Action]:
        return [Connect()] if self._stays_connected else []

    def _heartbeat(self, _session: "Session", now: float) -> list[Action]:
        self._heartbeat_ref = self._ref()
        self._arm(self, "heartbeat_deadline", now + self._options.heartbeat_seconds)
        return [Send(None, self._heartbeat_ref, HEARTBEAT_TOPIC, HEARTBEAT, {})]

    def _heartbeat_missed(self, _session: "Session", now: float) -> list[Action]:
        reason = "heartbeat timeout"
        return [Disconnect(1000, reason), *self._closed(events.Closed(reason), now)]

    # Channels

    def _join(self, event: events.Join, now: float) -> list[Action]:
        channel = event.channel
        self._channels.setdefault(channel.topic, []).append(channel)
        self._arm(channel, "first_join_deadline", now + channel.timeout)
        if self.connected:
            return self._send_join(channel, now)
        channel.state = "errored"  # joined when the connection opens
        return []

    def _send_join(self, channel: ChannelState, now: float) -> list[Action]:
        actions: list[Action] = []
        for other in list(self._channels.get(channel.topic, ())):
            if other is not channel and other.state in ("joined", "joining"):
                actions += self._leave(events.Leave(other), now)  # phoenix.js: leaveOpenTopic
        channel.state = "joining"
        channel.join_ref = self._ref()
        channel.rejoin_at = None
        self._arm(channel, "join_deadline", now + channel.timeout)
        return [*actions, Changed(channel, "joining", ""), SendJoin(channel, channel.join_ref)]

    def _schedule_rejoin(self, channel: ChannelState, now: float) -> None:
        if self.connected:  # else when the connection opens
            channel.attempts += 1
            delay = retry_delay(self._options.rejoin_seconds, channel.attempts)
            self._arm(channel, "rejoin_at", now + delay)

    def _leave(self, event: events.Leave, now: float) -> list[Action]:
        channel = event.channel
        if channel.state in ("closed", "leaving"):
            return []
        if not self.connected or channel.join_ref is None or channel.state == "errored":
            return self._close_channel(channel, "left")
        leave = self._send_leave(channel)
        if channel.state == "joining":
            return [leave, *self._close_channel(channel, "left")]
        failed = [Failed(push, "closed") for push in channel.take_all()]
        channel.leave_ref = leave.ref
        channel.state = "leaving"
        self._arm(channel, "leave_deadline", now + channel.timeout)
        return [leave, *failed, Changed(channel, "leaving", "left")]

    def _send_leave(self, channel: ChannelState) -> Send:
        return Send(channel.join_ref, self._ref(), channel.topic, LEAVE, {})

    def _channel_errored(self, channel: ChannelState, reason: str, now: float) -> list[Action]:
        """Handle a crash of the channel or the end of its connection: it will rejoin."""
        if channel.state in ("closed", "errored"):
            return []
        if channel.state == "leaving":
            return self._close_channel(channel, reason)
        channel.state = "errored"
        channel.join_deadline = None
        self._schedule_rejoin(channel, now)
        lost = [Failed(push, "lost") for push in channel.take_sent()]
        return [*lost, Changed(channel, "errored", reason)]

    def _close_channel(self, channel: ChannelState, reason: str) -> list[Action]:
        failed = [Failed(push, "closed") for push in channel.take_all()]
        channel.state = "closed"
        channel.clear_deadlines()
        others = self._channels.get(channel.topic, [])
        if channel in others:
            others.remove(channel)
        if not others:
            self._channels.pop(channel.topic, None)
        return [*failed, Changed(channel, "closed", reason)]

    def _first_join_timed_out(self, channel: ChannelState, _now: float) -> list[Action]:
        leave = [self._send_leave(channel)] if channel.state == "joining" else []
        closed = self._close_channel(channel, "the join was not answered in time")
        return [*leave, JoinTimedOut(channel), *closed]

    def _join_timed_out(self, channel: ChannelState, now: float) -> list[Action]:
        leave = self._send_leave(channel)
        channel.state = "errored"
        self._schedule_rejoin(channel, now)
        return [leave, JoinTimedOut(channel), Changed(channel, "errored", "the join was not answered")]

    def _rejoin_due(self, channel: ChannelState, now: float) -> list[Action]:
        rejoins = self.connected and channel.state == "errored"
        return self._send_join(channel, now) if rejoins else []

    def _leave_timed_out(self, channel: ChannelState, _now: float) -> list[Action]:
        return self._close_channel(channel, "left")

    # Pushes

    def _push(self, event: events.Push, now: float) -> list[Action]:
        push = event.push
        channel = push.channel
        if channel.state in ("closed", "leaving"):
            return [Failed(push, "closed")]
        if channel.state == "joined":
            return [self._send(push, now)]
        if len(channel.buffer) >= self._options.max_buffered:
            return [Failed(push, "full")]
        channel.buffer[push] = None
        self._arm(push, "deadline", now + push.timeout)
        return []

    def _send(self, push: PushState, now: float) -> Send:
        channel = push.channel
        push.ref = self._ref()
        if push.wants_reply:
            channel.sent[push.ref] = push
            self._arm(push, "deadline", now + push.timeout)
        else:
            push.deadline = None
        return Send(channel.join_ref, push.ref, channel.topic, push.event, push.payload)

    def _forget(self, event: events.Forget, _now: float) -> list[Action]:
        event.push.channel.forget(event.push)
        return []

    def _push_timed_out(self, push: PushState, _now: float) -> list[Action]:
        push.channel.forget(push)
        return [Failed(push, "timeout")]

    # Messages

    def _received(self, message: events.Received, now: float) -> list[Action]:
        if not self.connected:
            return []
        if message.topic == HEARTBEAT_TOPIC:
            return self._heartbeat_replied(message, now)
        if not isinstance(message.topic, str) or not isinstance(message.event, str):
            return []
        actions: list[Action] = []
        for channel in list(self._channels.get(message.topic, ())):
            # phoenix.js: isMember. A message with another join_ref is for a channel that has ended.
            if message.join_ref is None or message.join_ref == channel.join_ref:
                handle = _MESSAGES.get(message.event, Session._delivered)
                actions += handle(self, channel, message, now)
        return actions

    def _heartbeat_replied(self, message: events.Received, now: float) -> list[Action]:
        if message.ref is not None and message.ref == self._heartbeat_ref:
            self._heartbeat_ref = self.heartbeat_deadline = None
            self._arm(self, "heartbeat_at", now + self._options.heartbeat_seconds)
        return []

    def _delivered(self, channel: ChannelState, message: events.Received, _now: float) -> list[Action]:
        if channel.state not in ("joined", "joining"):
            return []
        return [Deliver(channel, message.event, message.payload, message.ref)]

    def _replied(self, channel: ChannelState, message: events.Received, now: float) -> list[Action]:
        reply = message.payload
        if not isinstance(reply, dict) or not isinstance(reply.get("status"), str):
            return []
        status, response, ref = reply["status"], reply.get("response"), message.ref
        if not isinstance(ref, str):
            return []
        if ref == channel.join_ref:
            return self._join_answered(channel, status, response, now)
        if ref == channel.leave_ref:
            return self._close_channel(channel, "left")
        push = channel.sent.pop(ref, None)
        if push is None:
            return []
        push.deadline = None
        return [Replied(push, status, response)]

    def _join_answered(self, channel: ChannelState, status: str, response: Any, now: float) -> list[Action]:
        if channel.state != "joining":
            return []
        channel.join_deadline = None
        if status != "ok":
            return self._join_refused(channel, response, now)
        channel.state = "joined"
        channel.first_join_deadline = None
        channel.attempts = 0
        waiting, channel.buffer = channel.buffer, {}
        changed = Changed(channel, "joined", "")
        return [Joined(channel, response), changed, *(self._send(push, now) for push in waiting)]

    def _join_refused(self, channel: ChannelState, response: Any, now: float) -> list[Action]:
        if channel.first_join_deadline is not None:
            return [Refused(channel, response), *self._close_channel(channel, "refused")]
        channel.state = "errored"
        self._schedule_rejoin(channel, now)
        return [Refused(channel, response), Changed(channel, "errored", "refused")]

    def _channel_closed(self, channel: ChannelState, _: events.Received, _now: float) -> list[Action]:
        reason = "left" if channel.state == "leaving" else "closed by the server"
        return self._close_channel(channel, reason)

    def _channel_crashed(self, channel: ChannelState, _: events.Received, now: float) -> list[Action]:
        return self._channel_errored(channel, "the channel crashed", now)

    def _ref(self) -> str:
        return str(next(self._refs))

    def _all_channels(self) -> list[ChannelState]:
        return [channel for channels in self._channels.values() for channel in channels]


_HANDLERS: dict[type[Any], Callable[[Session, Any, float], list[Action]]] = {
    events.Start: Session._start,
    events.Opened: Session._opened,
    events.Closed: Session._closed,
    events.Received: Session._received,
    events.Join: Session._join,
    events.Leave: Session._leave,
    events.Push: Session._push,
    events.Forget: Session._forget,
    events.Stop: Session._stop,
    events.Tick: Session._tick,
}
_MESSAGES: dict[Any, Callable[[Session, ChannelState, events.Received, float], list[Action]]] = {
    REPLY: Session._replied,
    CLOSE: Session._channel_closed,
    ERROR: Session._channel_crashed,
}
_DUE: dict[str, Callable[[Session, Any, float], list[Action]]] = {
    "heartbeat_at": Session._heartbeat,
    "heartbeat_deadline": Session._heartbeat_missed,
    "reconnect_at": Session._reconnect,
    "first_join_deadline": Session._first_join_timed_out,
    "join_deadline": Session._join_timed_out,
    "rejoin_at": Session._rejoin_due,
    "leave_deadline": Session._leave_timed_out,
    "deadline": Session._push_timed_out,
}
