"""The actions of a channel, which become link commands and broadcasts. Implements ChannelContext.

Each command contains the number of this worker's last broadcast to the topic, so that the gateway can
deliver them in the order in which the channel produced them (docs/protocol.md §3).
"""

import asyncio
import math
from collections.abc import Awaitable
from typing import Any

from mesh.app.channel import TIMEOUT
from mesh.app.history import KeptBroadcast, check_range
from mesh.app.replies import SocketRef
from mesh.errors import ChannelError, NotJoinedError, PayloadError
from mesh.link import commands
from mesh.protocol import payloads
from mesh.protocol.messages import BINARY, JSON, Sender, check_event, check_name
from mesh.protocol.serializers.registry import client_serializer
from mesh.telemetry import stats
from mesh.worker.channel.lifecycle import Life, Phase
from mesh.worker.channel.mailbox import InfoMessage, Mailbox, StopRequested
from mesh.worker.channel.worker import ContextWorker
from mesh.worker.topic_members import LocalTopic

NO_PUSH = object()
"""Replaces the ref while no push is handled; None is the ref of a push that wants no reply."""


class WorkerContext:
    """The actions of one channel.

    Args:
        worker: the worker that runs the channel.
        mailbox: the channel's mailbox.
        life: the channel's lifecycle, which is only read here.
        link: the link to the client's gateway.
        join: the join that started the channel.
        name: the name of the Channel class, for errors.

    Attributes:
        link: the link to the client's gateway.
        number: the channel's number on the link.
        topic: the channel's topic.
        mailbox: receives broadcasts that the channel subscribed to.
        local_topic: the members of its topic; None until its client has joined.
        muted: whether nothing is sent to the client, because it is gone.
        push_ref: the ref of the push being handled; NO_PUSH if there is none.
        stop_reason: the reason of a `stop` that takes effect after the running callback.
        silence_seconds: the silence after which TIMEOUT is due, starting when the running callback ends.
        subscriptions: the other topics that the channel subscribed to; None if it never did.
    """

    __slots__ = (
        "_codec", "_last_sent", "_life", "_name", "_serializer", "_silence", "_timers", "_transport",
        "_worker", "link", "local_topic", "mailbox", "muted", "number", "push_ref", "silence_seconds",
        "stop_reason", "subscriptions", "topic",
    )  # fmt: skip

    def __init__(
        self,
        worker: ContextWorker,
        mailbox: Mailbox,
        life: Life,
        link: bytes,
        join: commands.Join,
        name: str,
    ) -> None:
        self._worker = worker
        self.mailbox = mailbox
        self._life = life
        self.link = link
        self.number = join.channel
        self.topic = join.topic
        self._transport = join.transport
        self._name = name
        # A gateway of a later version may know serializers that this worker does not.
        self._serializer = client_serializer(join.serializer, join.transport)
        self._codec = self._serializer.codec
        self.local_topic: LocalTopic | None = None
        self.muted = False
        self.stop_reason: str | None = None
        self.silence_seconds: float | None = None
        self._last_sent = 0
        self.push_ref: Any = NO_PUSH
        self._silence: asyncio.TimerHandle | None = None
        self._timers: set[asyncio.TimerHandle] | None = None
        self.subscriptions: set[str] | None = None

    def push(self, event: str, payload: Any) -> None:
        """Send an event to this client."""
        topic = self.local_topic
        if topic is None:
            raise self._not_joined("push")
        check_event(event)
        codec, data = payloads.encode_object(payload, self._codec)
        if codec == BINARY:
            self._require_binary(self.topic, event)
        stats.channel_pushes += 1
        self.send_command(commands.Pushed(self.number, topic.sequence, event, codec, data))

    def reply(self, ref: SocketRef | None, status: str, payload: Any) -> None:
        """Reply to a push of this client."""
        if self.local_topic is None:
            raise self._not_joined("reply")
        to = ref or self.socket_ref()
        if to.topic != self.topic:
            raise ChannelError(f"the push belongs to channel {to.topic!r}; reply to it there")
        self.answer(to.ref, status, payload)

    def answer(self, ref: Any, status: str, payload: Any) -> None:
        """Reply to the push with this ref."""
        check_name(status, "status")
        codec, data = self.encode_reply(status, payload)
        stats.replies += 1
        self.send_command(commands.Reply(self.number, self.after(), ref, status, codec, data))

    def broadcast(self, event: str, payload: Any, to_self: bool) -> None:
        """Send an event to all members of the topic."""
        if self.local_topic is None:
            raise self._not_joined("broadcast")
        self._worker.pubsub.broadcast_from(self.sender(not to_self), self.topic, event, payload)

    def sender(self, skip: bool = True) -> Sender:
        """Return this channel as the sender of a broadcast, which it must not receive if `skip`."""
        return Sender(self._worker.gateway_of(self.link), self.number, skip, self._last_sent)

    def is_sender(self, sender: Sender) -> bool:
        """Return whether this channel is the sender."""
        return sender[:2] == (self._worker.gateway_of(self.link), self.number)

    def socket_ref(self) -> SocketRef:
        """Return a reference to the push being handled."""
        if self.push_ref is NO_PUSH:
            raise ChannelError("socket_ref and reply without ref need a push that is being handled")
        return SocketRef(self.topic, self.push_ref)

    def stop(self, reason: str) -> None:
        """End the channel after the current callback."""
        if self.local_topic is None:
            raise self._not_joined("stop")
        check_name(reason, "reason")
        if self.mailbox.busy:
            self.stop_reason = reason
        else:
            self.mailbox.post(StopRequested(reason))

    def send(self, message: Any, delay_seconds: float) -> None:
        """Queue a message for `handle_info`."""
        if not delay_seconds < math.inf:
            raise ChannelError(f"delay_seconds is {delay_seconds!r}; want a number of seconds")
        if delay_seconds <= 0:
            self.mailbox.post(InfoMessage(message))
            return
        timers = self._timers = self._timers if self._timers is not None else set()

        def due() -> None:
            timers.discard(timer)
            self.mailbox.post(InfoMessage(message))

        timer = asyncio.get_running_loop().call_later(delay_seconds, due)
        timers.add(timer)

    def timeout(self, seconds: float) -> None:
        """Queue TIMEOUT for `handle_info` after this much silence, starting when the callback ends."""
        if not (isinstance(seconds, (int, float)) and 0 <= seconds < math.inf):
            raise ChannelError(f"timeout is {seconds!r}; want a number of seconds, at least 0")
        self.end_silence()
        self.silence_seconds = seconds
        if not self.mailbox.busy:
            self.begin_silence(seconds)

    def begin_silence(self, seconds: float) -> None:
        """Start the timer of TIMEOUT: nothing is being handled."""
        if not self.mailbox.closed:
            self._silence = asyncio.get_running_loop().call_later(seconds, self._silent)

    def end_silence(self) -> None:
        """Stop the timer of TIMEOUT: something is being handled."""
        self.silence_seconds = None
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _silent(self) -> None:
        self._silence = None
        if not self.mailbox.busy:  # otherwise something has just arrived
            self.mailbox.post(InfoMessage(TIMEOUT))

    @property
    def timed(self) -> bool:
        """Whether a timer will put something into the mailbox."""
        return bool(self._timers or self._silence)

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Pass broadcasts on `topic` to `handle_info`."""
        self.require_live("subscribe")
        future = self._worker.members.subscribe(self, topic)
        if self.subscriptions is None:
            self.subscriptions = set()
        self.subscriptions.add(topic)
        return future

    def unsubscribe(self, topic: str) -> None:
        """Undo `subscribe`."""
        if self.subscriptions and topic in self.subscriptions:
            self.subscriptions.discard(topic)
            self._worker.members.unsubscribe(self, topic)

    async def history(self, limit: int, before: int | None) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of the topic, the oldest of them first."""
        check_range(limit, before)
        return await self._worker.histories.list(self.topic, limit, before)

    # The channel's subscriptions and presences in the worker

    def require_live(self, verb: str) -> None:
        """Raise ChannelError if the channel has ended or moved: additions would never be removed."""
        if self._life.phase is Phase.TERMINATED or self._life.phase is Phase.MOVED:
            raise ChannelError(
                f"{verb}: the channel has ended on this worker ({self.topic!r}), and what it adds now would"
                " never be removed; end the tasks that it started in `terminate`"
            )

    def unsubscribe_all(self) -> None:
        """End all subscriptions."""
        for topic in tuple(self.subscriptions or ()):
            self.unsubscribe(topic)

    def release(self) -> None:
        """End all subscriptions and timers."""
        if self.silence_seconds is not None:
            self.end_silence()
        if self._timers:
            for timer in self._timers:
                timer.cancel()
        if self.subscriptions:
            self.unsubscribe_all()

    # Sending

    def send_command(self, command: commands.ToGateway) -> None:
        """Queue a command for the gateway, unless the client is gone."""
        if not self.muted:
            self._last_sent = self._worker.send(self.link, command)

    def after(self) -> int:
        """The number of this worker's last broadcast to the topic, which later commands must follow."""
        return self.local_topic.sequence if self.local_topic is not None else 0

    def encode_reply(self, status: str, payload: Any) -> tuple[int, bytes]:
        """(codec, bytes) of a reply. Raises PayloadError for what this client cannot receive."""
        if not payload and type(payload) is dict and self._codec == JSON:  # most joins, many pushes
            return JSON, payloads.EMPTY
        codec, data = payloads.encode(payload, self._codec)
        if codec == BINARY:
            self._require_binary(self.topic, status)
        return codec, data

    def _not_joined(self, verb: str) -> NotJoinedError:
        return NotJoinedError(
            f"{verb} in {self._name}.join: the client has not joined yet; do it in after_join"
        )

    def _require_binary(self, *fields: str) -> None:
        """Raise if the client's protocol cannot carry bytes: as in Phoenix, the channel crashes."""
        serializer = self._serializer
        if not serializer.carries_binary:
            raise PayloadError(
                f"a client with {serializer.name} over {self._transport} cannot receive bytes; it must"
                " connect by WebSocket with vsn 2.0.0"
            )
        limit = serializer.max_binary_field_bytes
        if limit is None:
            return
        for field in fields:
            if len(field.encode()) > limit:
                raise PayloadError(
                    f"{field[:32]!r}… has more than {limit} bytes and does not fit into a binary frame"
                )
