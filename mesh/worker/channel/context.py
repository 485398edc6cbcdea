"""What a channel can do: what it says becomes link commands and broadcasts. Implements ChannelContext.

What leaves on the link is stamped so that the gateway keeps the order of what one channel produced
(docs/protocol.md §3). ChannelServer, which lives the channel's life, builds on this.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from mesh import payloads
from mesh.channel import TIMEOUT, Channel
from mesh.errors import ChannelError, NotJoinedError, PayloadError
from mesh.link import commands
from mesh.messages import BINARY, JSON, MSGPACK, Sender, check_event, check_name
from mesh.replies import Reply, SocketRef
from mesh.serializers import binary as binary_frames
from mesh.telemetry import stats
from mesh.worker.channel.mail import InfoMessage, StopRequested

if TYPE_CHECKING:
    from mesh.worker.channels import Channels
    from mesh.worker.topic_members import LocalTopic


class WorkerContext(ABC):
    """One channel's voice.

    Attributes:
        execution_context: in which all of the channel's callbacks run, and what is logged of it.
    """

    __slots__ = (
        "_codec", "_ended", "_gone", "_handling", "_joined", "_last_sent", "_ref", "_released", "_running",
        "_silence", "_silence_seconds", "_stop_reason", "_subscriptions", "_timers", "channel", "channels",
        "execution_context", "link", "members", "number", "topic",
    )  # fmt: skip

    channel: Channel

    def __init__(
        self, channels: "Channels", link: bytes, join: commands.Join, execution_context: Context
    ) -> None:
        self.channels = channels
        self.execution_context = execution_context
        self.link = link
        self.number = join.channel
        self.topic = join.topic
        self.members: LocalTopic | None = None
        self._codec = MSGPACK if join.serializer == "v2_msgpack" else JSON
        self._running = False
        self._joined = False
        self._last_sent = 0
        self._ended = False
        self._gone = False
        self._released = False
        self._handling = False
        self._ref: Any = None
        self._stop_reason: str | None = None
        self._silence_seconds: float | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._timers: set[asyncio.TimerHandle] | None = None
        self._subscriptions: set[str] | None = None

    @abstractmethod
    def post(self, mail: Any) -> None:
        """Queue mail for this channel."""

    @abstractmethod
    def post_sized(self, mail: Any) -> None:
        """As `post`, for what carries a payload as bytes."""

    def push(self, event: str, payload: Any) -> None:
        """To this client."""
        self._require_joined("push")
        check_event(event)
        codec, data = payloads.encode_object(payload, self._codec)
        if codec == BINARY:
            self._require_binary(self.topic, event)
        stats.channel_pushes += 1
        self._send(commands.Pushed(self.number, self._after(), event, codec, data))

    def reply(self, ref: SocketRef | None, status: str, payload: Any) -> None:
        """To a push of this client."""
        self._require_joined("reply")
        check_name(status, "status")
        to = ref or self.socket_ref()
        if to.topic != self.topic:
            raise ChannelError(f"the push is one of {to.topic!r}; reply to it in that channel")
        codec, data = self._encode_reply(Reply(payload, status))
        stats.replies += 1
        self._send(commands.Reply(self.number, self._after(), to.ref, status, codec, data))

    def broadcast(self, event: str, payload: Any, to_self: bool) -> None:
        """To all members of the topic."""
        self._require_joined("broadcast")
        gateway = self.channels.gateway_of(self.link)
        sender = Sender(gateway, self.number, not to_self, self._last_sent)
        self.channels.pubsub.broadcast_from(sender, self.topic, event, payload)

    def sender(self) -> Sender:
        """Names this channel as one that must not get a broadcast."""
        return Sender(self.channels.gateway_of(self.link), self.number, True, self._last_sent)

    def named_by(self, sender: Sender) -> bool:
        """Whether it was this channel."""
        return sender[:2] == (self.channels.gateway_of(self.link), self.number)

    def socket_ref(self) -> SocketRef:
        """The push being handled."""
        if not self._handling:
            raise ChannelError("socket_ref and reply without ref need a push that is being handled")
        return SocketRef(self.topic, self._ref)

    def stop(self, reason: str) -> None:
        """End after the current callback."""
        self._require_joined("stop")
        check_name(reason, "reason")
        self._stop_reason = reason
        if not self._running and not self._ended:
            self._schedule_stop()

    def _schedule_stop(self) -> None:
        reason, self._stop_reason = self._stop_reason, None
        self.post(StopRequested(reason or "normal"))

    def send(self, message: Any, delay_seconds: float) -> None:
        """Queue for `handle_info`."""
        if not delay_seconds < math.inf:
            raise ChannelError(f"delay_seconds {delay_seconds!r}: want a number of seconds")
        if delay_seconds <= 0:
            self.post(InfoMessage(message))
            return
        timers = self._timers = self._timers if self._timers is not None else set()

        def due() -> None:
            timers.discard(timer)
            self.post(InfoMessage(message))

        timer = asyncio.get_running_loop().call_later(delay_seconds, due)
        timers.add(timer)

    def timeout(self, seconds: float) -> None:
        """Queue TIMEOUT for `handle_info` after so much silence; it begins when the callback ends."""
        if not (isinstance(seconds, (int, float)) and 0 <= seconds < math.inf):
            raise ChannelError(f"timeout {seconds!r}: want a number of seconds, at least 0")
        self._end_silence()
        self._silence_seconds = seconds
        if not self._running and not self._ended:
            self._silence = asyncio.get_running_loop().call_later(seconds, self._silent)

    def _silent(self) -> None:
        self._silence = None
        if not self._running:  # else something has just come
            self.post(InfoMessage(TIMEOUT))

    def _end_silence(self) -> None:
        self._silence_seconds = None
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Deliver broadcasts on `topic` to `handle_info`."""
        self.require_live("subscribe")
        future = self.channels.members.subscribe(self, topic)
        if self._subscriptions is None:
            self._subscriptions = set()
        self._subscriptions.add(topic)
        return future

    def unsubscribe(self, topic: str) -> None:
        """No longer."""
        if self._subscriptions and topic in self._subscriptions:
            self._subscriptions.discard(topic)
            self.channels.members.unsubscribe(self, topic)

    # What the channel leaves in the worker: subscriptions and presences

    def require_live(self, verb: str) -> None:
        """Raise ChannelError once nothing would end what the channel adds: it has ended, or has moved."""
        if self._released:
            raise ChannelError(
                f"{verb}: the channel has ended on this worker ({self.topic!r}), so nothing would ever end"
                " what it adds now; let the tasks that it started end with it"
            )

    def _unsubscribe_all(self) -> None:
        for topic in list(self._subscriptions or ()):
            self.unsubscribe(topic)

    def _release_for_good(self) -> None:
        """After the last callback that may add anything: end all of it; from now on nothing is added."""
        self._released = True
        self._unsubscribe_all()
        self.channels.untrack(self)

    # Sending

    def _send(self, command: commands.ToGateway) -> None:
        if not self._gone:
            self._last_sent = self.channels.send(self.link, command)

    def _after(self) -> int:
        return self.members.sequence if self.members is not None else 0

    def _encode_reply(self, reply: Reply) -> tuple[int, bytes]:
        codec, data = payloads.encode(reply.payload, self._codec)
        if codec == BINARY:
            self._require_binary(self.topic, reply.status)
        return codec, data

    def _require_joined(self, verb: str) -> None:
        if not self._joined:
            raise NotJoinedError(
                f"{verb} in {type(self.channel).__name__}.join: the client has not joined yet;"
                " do it in after_join"
            )

    def _require_binary(self, *fields: str) -> None:
        """As in Phoenix, a channel that sends what its client's protocol cannot carry crashes."""
        socket = self.channel.socket
        if socket.serializer == "v1_json":
            raise PayloadError("a V1 client cannot receive bytes; it must connect with vsn 2.0.0")
        if socket.transport == "longpoll":
            raise PayloadError("a long-poll client cannot receive bytes; it must connect by WebSocket")
        if socket.serializer != "v2_json":
            return
        for field in fields:
            if len(field.encode()) > binary_frames.FIELD_BYTES:
                raise PayloadError(
                    f"{field[:32]!r}… is over {binary_frames.FIELD_BYTES} bytes and cannot stand in"
                    " a binary frame"
                )
