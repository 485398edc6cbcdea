"""One client's channels: every protocol decision of a gateway, without I/O.

The hub feeds what a client or a worker says and carries out the actions returned, in order. A message
for a channel that is not joined never leaves this file. While a join is pending, what the client sends
on its topic waits, so that it is handled after the join as in Phoenix, where a join blocks everything.
Source: Phoenix.Socket.__in__ and handle_in, Phoenix.Channel.Server.
"""

from collections.abc import Callable
from typing import Any

from gateway.channels.actions import (
    Action,
    Close,
    Deliver,
    Drop,
    Forward,
    MarkDraining,
    Pause,
    PlaceOnWorker,
    Resume,
    Send,
    SubscribeThenJoin,
)
from gateway.channels.gateway_channel import GatewayChannel, Joining, Moving
from gateway.channels.message_sizes import SMALL, event_is_too_long, ref_problem, waiting_size
from gateway.channels.worker_payloads import UNSENDABLE, check_message, check_payload, unsendable
from gateway.flow.rate_limits import RateLimits
from mesh import telemetry
from mesh.channel import Channel
from mesh.errors import CloseCode, DecodeError, EncodeError
from mesh.link import commands
from mesh.messages import CLOSE, ERROR, HEARTBEAT, HEARTBEAT_TOPIC, JOIN, JSON, LEAVE, Message
from mesh.payloads import EMPTY
from mesh.routes import Route, RouteTable
from mesh.serializers.base import Serializer
from mesh.telemetry import counters, get_logger, shorten
from mesh.topics import MAX_TOPIC_BYTES, is_reserved

log = get_logger("gateway.session")

UNMATCHED = b'{"reason":"unmatched topic"}'
TOO_MANY = b'{"reason":"too many channels joined"}'
UNAVAILABLE = b'{"reason":"unavailable"}'
JOIN_CRASHED = b'{"reason":"join crashed"}'
INVALID_REPLY = b'{"reason":"invalid reply"}'
CHANNEL_CRASH = b'{"reason":"channel_crash"}'
TOO_LONG = b'{"reason":"event too long"}'


class Session:
    """The channels of one client.

    Args:
        serializer: of the client's protocol version.
        routes: of its socket handler.
        client: the hub's, handed to each GatewayChannel.
        next_number: gives each channel its number.
        max_channels: bound of joined and joining channels.
        max_pending_bytes: bound of what waits for pending joins; over it reading pauses.
        limits: of its rates; None for none.
    """

    __slots__ = (
        "_client", "_limits", "_max_channels", "_max_pending_bytes", "_next_number", "_paused",
        "_pending_bytes", "_routes", "_serializer", "channels",
    )  # fmt: skip

    def __init__(
        self,
        serializer: Serializer,
        routes: RouteTable[type[Channel]],
        client: Any,
        next_number: Callable[[], int],
        max_channels: int,
        max_pending_bytes: int,
        limits: RateLimits | None = None,
    ) -> None:
        self.channels: dict[str, GatewayChannel] = {}
        self._serializer = serializer
        self._routes = routes
        self._client = client
        self._next_number = next_number
        self._max_channels = max_channels
        self._max_pending_bytes = max_pending_bytes
        self._pending_bytes = 0
        self._paused = False
        self._limits = limits

    # What the client says

    def received(self, data: bytes, binary: bool) -> list[Action]:
        """A message of the client."""
        try:
            message = self._serializer.decode(data, binary)
        except DecodeError as error:
            counters.count("frames_malformed")
            return [Close(CloseCode.INTERNAL_ERROR, shorten(str(error)))]
        if len(data) - len(message.data) > SMALL:  # else nothing beside the payload is too long
            refused = self._check_envelope(message)
            if refused:
                return refused
        if self._limits is not None:
            too_much = self._limits.check(message, len(data), self.channels.get)
            if too_much is not None:
                return self._reply(message.join_ref, message.ref, message.topic, "error", too_much)
        return self._handle(message)

    def _check_envelope(self, message: Message) -> list[Action]:
        """What to do with a message that has more beside its payload than may be kept; else nothing."""
        problem = ref_problem(message)
        if problem is not None:
            counters.count("frames_malformed")
            return [Close(CloseCode.INTERNAL_ERROR, problem)]
        if event_is_too_long(message):
            return self._reply(message.join_ref, message.ref, message.topic, "error", TOO_LONG)
        return []

    def _handle(self, message: Message) -> list[Action]:
        topic = message.topic
        if message.event == HEARTBEAT and topic == HEARTBEAT_TOPIC:
            return self._reply(None, message.ref, topic, "ok", EMPTY)
        channel = self.channels.get(topic) if isinstance(topic, str) else None
        if channel is None:
            return self._handle_not_joined(message)
        if channel.joining is not None:
            return self._hold(channel.joining, message)
        if message.event == JOIN:
            return self._replace(channel, message)
        join_ref = message.join_ref
        if join_ref is not None and not _same_ref(join_ref, channel.join_ref):
            counters.count("stale_messages_ignored")
            return []
        if message.event == LEAVE:
            return [Forward(channel, commands.Leave(channel.number, message.ref))]
        push = commands.Push(channel.number, message.ref, message.event, message.codec, message.data)
        return [Forward(channel, push)]

    def _handle_not_joined(self, message: Message) -> list[Action]:
        if message.event == JOIN:
            return self._join(message)
        if message.event == LEAVE:
            return self._reply(message.join_ref, message.ref, message.topic, "ok", EMPTY)
        return self._unmatched(message)

    def _join(self, message: Message) -> list[Action]:
        route = self._route(message.topic)
        if route is None:
            return self._unmatched(message)
        if len(self.channels) >= self._max_channels:
            log.error("too many channels joined", limit=self._max_channels, topic=message.topic)
            return self._reply(message.join_ref, message.ref, message.topic, "error", TOO_MANY)
        channel = GatewayChannel(self._next_number(), route, message, self._client)
        self.channels[channel.topic] = channel
        return [SubscribeThenJoin(channel)]

    def _replace(self, old: GatewayChannel, message: Message) -> list[Action]:
        """A second join of a topic: the new channel starts when the old one has ended."""
        new = GatewayChannel(self._next_number(), old.route, message, self._client, replaces=old)
        self.channels[old.topic] = new
        return [Forward(old, commands.Replace(old.number))]

    def _hold(self, joining: Joining, message: Message) -> list[Action]:
        size = waiting_size(message)
        joining.pending.append(message)
        joining.pending_bytes += size
        self._pending_bytes += size
        if self._pending_bytes > self._max_pending_bytes and not self._paused:
            self._paused = True
            return [Pause()]
        return []

    def _route(self, topic: Any) -> Route[type[Channel]] | None:
        if not isinstance(topic, str) or is_reserved(topic) or "\x00" in topic:
            return None
        if len(topic.encode()) > MAX_TOPIC_BYTES:
            return None
        return self._routes.find(topic)

    def close(self) -> None:
        """The client is gone: forget it and its channels."""
        self.channels.clear()
        self._client = None

    # What a worker says

    def joined(self, channel: GatewayChannel, joined: commands.Joined) -> list[Action]:
        """The join was accepted."""
        joining = channel.joining
        if joining is None:
            return []
        channel.intercepts = frozenset(joined.intercepts)
        if type(joining) is Moving:
            channel.joining = None
            return [Deliver(channel), *self._release(joining)]
        try:
            actions = self._answer_join(channel, joining, "ok", joined.codec, joined.data)
        except UNSENDABLE as error:  # the worker believes that it is joined
            unsendable(error, channel, "replies_unencodable")
            end = commands.SocketDown([channel.number], "closed")
            return [Forward(channel, end), *self.refused(channel, JSON, JOIN_CRASHED)]
        channel.joining = None
        channel.since = joined.since
        actions.append(Deliver(channel))
        return actions + self._release(joining)

    def refused(self, channel: GatewayChannel, codec: int, data: bytes) -> list[Action]:
        """The join was refused, or crashed."""
        joining = channel.joining
        if joining is None:
            return []
        if type(joining) is Moving:
            return self.crashed(channel)
        try:
            actions = self._answer_join(channel, joining, "error", codec, data)
        except UNSENDABLE as error:
            unsendable(error, channel, "replies_unencodable")
            actions = self._answer_join(channel, joining, "error", JSON, JOIN_CRASHED)
        actions += self._drop(channel)
        return actions + self._release(joining)

    def unavailable(self, channel: GatewayChannel) -> list[Action]:
        """No worker serves the route; the client tries again by itself."""
        return self.refused(channel, JSON, UNAVAILABLE)

    def replied(self, channel: GatewayChannel, reply: commands.Reply) -> list[Action]:
        """The channel answers a push or a leave; what cannot be sent becomes an error reply."""
        to, encode = (channel.push_join_ref, reply.ref, channel.topic), self._serializer.encode_reply
        try:
            check_payload(reply.codec, reply.data)
            return [Send(encode(*to, reply.status, reply.codec, reply.data))]
        except UNSENDABLE as error:
            unsendable(error, channel, "replies_unencodable")
        try:
            return [Send(encode(*to, "error", JSON, INVALID_REPLY))]
        except EncodeError:  # nobody asked with such a ref
            return []

    def pushed(self, channel: GatewayChannel, push: commands.Pushed) -> list[Action]:
        """The channel pushes."""
        try:
            check_message(push.event, push.codec, push.data)
            frame = self._serializer.encode_push(
                channel.push_join_ref, channel.topic, push.event, push.codec, push.data
            )
        except UNSENDABLE as error:
            unsendable(error, channel, "messages_unencodable")
            return []
        return [Send(frame)]

    def closed(self, channel: GatewayChannel) -> list[Action]:
        """The channel ended as it should."""
        return self._ended(channel, CLOSE, EMPTY)

    def crashed(self, channel: GatewayChannel) -> list[Action]:
        """The channel ended by an error."""
        return self._ended(channel, ERROR, CHANNEL_CRASH)

    def lost(self, channel: GatewayChannel) -> list[Action]:
        """The channel's worker is gone: a pending join goes to another, a joined channel crashed.

        One that moves is lost with the worker it comes from, not with the one it goes to.
        """
        if not channel.joined:
            channel.worker = None
            return [SubscribeThenJoin(channel)]
        if channel.moved is not None:
            channel.worker = None
            return [PlaceOnWorker(channel)]
        return self.crashed(channel)

    def moving(self, channel: GatewayChannel) -> list[Action]:
        """Its worker stops and would give the channel away: from now on what the client sends waits."""
        if channel.joining is not None or self.channels.get(channel.topic) is not channel:
            return []  # it is about to end
        channel.joining = Moving(channel)
        return [MarkDraining(channel.worker or ""), Forward(channel, commands.Handover(channel.number))]

    def moved(self, channel: GatewayChannel, moved: commands.Moved) -> list[Action]:
        """Its worker has let go of the channel."""
        if type(channel.joining) is not Moving:
            return []
        channel.joining.moved = moved
        channel.worker = None
        channel.since = 0
        return [PlaceOnWorker(channel)]

    def _ended(self, channel: GatewayChannel, event: str, data: bytes) -> list[Action]:
        if not channel.joined:  # and its join will never be answered
            return self.refused(channel, JSON, JOIN_CRASHED)
        current = self.channels.get(channel.topic)
        if current is not channel:
            return self._replaced(channel, current)
        frame = self._serializer.encode_end(channel.join_ref, channel.topic, event, data)
        actions = [Send(frame), *self._drop(channel)]
        if channel.joining is not None:
            if event == ERROR:
                counters.count("channels_not_moved")
            actions += self._release(channel.joining)
        return actions

    def _replaced(self, old: GatewayChannel, new: GatewayChannel | None) -> list[Action]:
        """The old channel of a second join has ended: now the new one may start."""
        if new is None or new.joining is None or new.joining.replaces is not old:
            return [Drop(old)]
        return [Drop(old), SubscribeThenJoin(new)]

    # Helpers

    def _answer_join(
        self, channel: GatewayChannel, joining: Joining, status: str, codec: int, data: bytes
    ) -> list[Action]:
        check_payload(codec, data)
        reply = self._serializer.encode_reply(
            channel.join_ref, joining.join.ref, channel.topic, status, codec, data
        )
        actions: list[Action] = [Send(reply)]
        old = joining.replaces
        if old is not None:
            actions.append(Send(self._serializer.encode_end(old.join_ref, old.topic, CLOSE, EMPTY)))
        return actions

    def _release(self, joining: Joining) -> list[Action]:
        """Handle what the client sent while the join was pending, up to the next join among it."""
        actions: list[Action] = []
        pending, size = joining.pending, joining.pending_bytes
        while pending:
            channel = self.channels.get(joining.join.topic)
            if channel is not None and channel.joining is not None:  # all that is left waits for that one
                channel.joining.pending, channel.joining.pending_bytes = pending, size
                break
            message = pending.popleft()
            size -= waiting_size(message)
            self._pending_bytes -= waiting_size(message)
            actions += self._handle(message)
        if self._paused and self._pending_bytes <= self._max_pending_bytes:
            self._paused = False
            actions.append(Resume())
        return actions

    def _drop(self, channel: GatewayChannel) -> list[Action]:
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]
        return [Drop(channel)]

    def _unmatched(self, message: Message) -> list[Action]:
        if message.event == JOIN and telemetry.attached("topic_unmatched"):
            telemetry.emit("topic_unmatched", {}, {"topic": message.topic})
        return self._reply(None, message.ref, message.topic, "error", UNMATCHED)

    def _reply(self, join_ref: Any, ref: Any, topic: Any, status: str, data: bytes) -> list[Action]:
        return [Send(self._serializer.encode_reply(join_ref, ref, topic, status, JSON, data))]


def _same_ref(one: Any, other: Any) -> bool:
    """Strict equality as in Elixir: "1", 1 and 1.0 differ, and true is not 1."""
    return type(one) is type(other) and bool(one == other)
