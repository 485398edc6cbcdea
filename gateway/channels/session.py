"""One client's channels: every protocol decision of a gateway, without I/O.

**Events in, actions out.** The hub passes on each message of the client and each command of a worker, and
carries out the actions returned, in order. A session knows no socket, no other client and no time: a
time-out arrives as an event. Events change a channel's phase by the table in gateway/channels/phases.py;
the steps that the table names are functions of this file.

**What is decided for a message of the client**, in this order: whether it can be decoded and its refs are
short enough (else the connection is closed), whether a rate limit refuses it, and then by topic and phase.
A heartbeat is answered here. A topic without a channel: `phx_join` starts one if a route matches,
`phx_leave` is answered "ok", anything else "unmatched topic". A channel that is not JOINED: the message is
held, which has the effect for this topic that Phoenix has by blocking the socket's process. A channel that
is JOINED: a second `phx_join` replaces it, a message of an earlier join is ignored, others are forwarded.

**What must precede what.** Held messages are handled in the order received, after the reply to the join and
after the broadcasts held for the channel (`Deliver` comes before `_release`), up to the next join among
them. The end of a replaced channel is sent after the reply to the join that replaced it. Commands of a
worker reach this file in an order that gateway/ordering has established; which join of
a topic a message belongs to, `join_ref` states for the client, and `GatewayChannel.number` for the links.

**What is limited.** The channels by `gateway.max_channels_per_socket`; the bytes held for all of them by
`gateway.max_pending_bytes`: above it, `Pause` stops reading from the client until `Resume`, and nothing is
dropped.

Source: Phoenix.Socket.__in__ and handle_in, Phoenix.Channel.Server.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mesh import telemetry
from mesh.app.channel import Channel
from mesh.app.routes import RouteTable
from mesh.errors import CloseCode, DecodeError
from mesh.gateway.channels.actions import (
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
from mesh.gateway.channels.answers import CHANNEL_CRASH, JOIN_CRASHED, TOO_LONG, TOO_MANY, UNMATCHED
from mesh.gateway.channels.gateway_channel import GatewayChannel, Pending
from mesh.gateway.channels.matching import find_route, same_ref
from mesh.gateway.channels.message_sizes import SMALL, event_is_too_long, ref_problem, waiting_size
from mesh.gateway.channels.phases import Event, Phase, Step
from mesh.gateway.channels.worker_payloads import UNSENDABLE, check_payload, unsendable
from mesh.gateway.flow.rate_limits import RateLimits
from mesh.link import commands
from mesh.protocol.messages import CLOSE, ERROR, HEARTBEAT, HEARTBEAT_TOPIC, JOIN, JSON, LEAVE, Message
from mesh.protocol.payloads import EMPTY
from mesh.protocol.serializers.base import Serializer
from mesh.telemetry import counters, get_logger, shorten

log = get_logger(__name__)

JOINED = Phase.JOINED


class Session:
    """The channels of one client.

    Args:
        serializer: the serializer of the client's protocol version.
        routes: the routes of its socket handler.
        client: passed to each GatewayChannel; only the hub uses it.
        next_number: returns the number of a new channel.
        max_channels: the limit of joined and joining channels.
        max_pending_bytes: the limit of bytes that wait for pending joins; above it, reading pauses.
        limits: its rate limits.
    """

    __slots__ = (
        "_client", "_limits", "_max_channels", "_max_pending_bytes", "_next_number", "_paused",
        "_pending_bytes", "_routes", "channels", "serializer",
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
        self.serializer = serializer
        self._routes = routes
        self._client = client
        self._next_number = next_number
        self._max_channels = max_channels
        self._max_pending_bytes = max_pending_bytes
        self._pending_bytes = 0
        self._paused = False
        self._limits = limits

    # Messages of the client

    def received(self, data: bytes, binary: bool) -> list[Action]:
        """Return the actions for a message of the client."""
        try:
            message = self.serializer.decode(data, binary)
        except DecodeError as error:
            counters.count("frames_malformed")
            return [Close(CloseCode.INTERNAL_ERROR, shorten(str(error)))]
        if len(data) - len(message.data) > SMALL:  # otherwise no part of the envelope is too long
            refused = self._check_envelope(message)
            if refused:
                return refused
        if self._limits is not None:
            too_much = self._limits.check(message, len(data), self.channels.get)
            if too_much is not None:
                return self._reply(message.join_ref, message.ref, message.topic, "error", too_much)
        return self._handle(message)

    def _check_envelope(self, message: Message) -> list[Action]:
        """Return the actions that refuse invalid refs or events; none if they are valid."""
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
            if message.event == JOIN:
                return self._join(message)
            if message.event == LEAVE:
                return self._reply(message.join_ref, message.ref, topic, "ok", EMPTY)
            return self._unmatched(message)
        if channel.phase is not JOINED:
            return self._hold(channel, message)
        if message.event == JOIN:
            return self._replace(channel, message)
        join_ref = message.join_ref
        if join_ref is not None and not same_ref(join_ref, channel.join_ref):
            counters.count("stale_messages_ignored")
            return []
        if message.event == LEAVE:
            return [Forward(channel, commands.Leave(channel.number, message.ref))]
        push = commands.Push(channel.number, message.ref, message.event, message.codec, message.data)
        return [Forward(channel, push)]

    def _join(self, message: Message) -> list[Action]:
        route = find_route(self._routes, message.topic)
        if route is None:
            return self._unmatched(message)
        if len(self.channels) >= self._max_channels:
            log.error("too many channels joined", limit=self._max_channels, topic=message.topic)
            return self._reply(message.join_ref, message.ref, message.topic, "error", TOO_MANY)
        channel = GatewayChannel(self._next_number(), route, message, self._client)
        self.channels[channel.topic] = channel
        return [SubscribeThenJoin(channel)]

    def _replace(self, old: GatewayChannel, message: Message) -> list[Action]:
        """Handle a second join of a topic: the new channel starts once the old one has ended."""
        new = GatewayChannel(self._next_number(), old.route, message, self._client, replaces=old)
        self.channels[old.topic] = new
        return self.advance(old, Event.JOINED_AGAIN)

    def _hold(self, channel: GatewayChannel, message: Message) -> list[Action]:
        pending, size = _pending(channel), waiting_size(message)
        pending.messages.append(message)
        pending.bytes += size
        self._pending_bytes += size
        if self._pending_bytes > self._max_pending_bytes and not self._paused:
            self._paused = True
            return [Pause()]
        return []

    def close(self) -> list[GatewayChannel]:
        """Forget the client, which is gone; return its channels, which have ended."""
        over: list[GatewayChannel] = []
        for channel in self.channels.values():
            old = channel.pending.replaces if channel.pending is not None else None
            over += [channel] if old is None or old.phase is Phase.ENDED else [old, channel]
        for channel in over:
            if channel.phase is Phase.MOVING:
                log.warning("channel lost: its client disconnected during its move", topic=channel.topic)
            self.advance(channel, Event.CLIENT_GONE)
        self.channels.clear()
        self._client = None
        return over

    # Events of a channel

    def advance(
        self, channel: GatewayChannel, event: Event, codec: int = JSON, data: bytes = JOIN_CRASHED
    ) -> list[Action]:
        """Move a channel to the phase that follows this event, and return the actions of the table's steps.

        Args:
            channel: one of this session's channels.
            event: what has happened to it.
            codec: the codec of `data`.
            data: the response to its join, if this event refuses it.

        Raises:
            PhaseError: if the event cannot happen in the channel's phase.
        """
        actions: list[Action] = []
        for step in channel.handle(event):
            if step is Step.REFUSE:
                actions += self._refuse(channel, codec, data)
            else:
                actions += _STEPS[step](self, channel)
        return actions

    # The steps of the table

    def _refuse(self, channel: GatewayChannel, codec: int, data: bytes) -> list[Action]:
        try:
            return self.answer(channel, "error", codec, data)
        except UNSENDABLE as error:
            unsendable(error, channel, "replies_unencodable")
            return self.answer(channel, "error", JSON, JOIN_CRASHED)

    def answer(self, channel: GatewayChannel, status: str, codec: int, data: bytes) -> list[Action]:
        """Answer the join, and only then send the end of the channel that it replaced.

        Raises:
            DecodeError: if the payload is malformed.
            EncodeError: if the client's protocol version cannot express it.
        """
        check_payload(codec, data)
        pending, encode = _pending(channel), self.serializer.encode_reply
        reply = encode(channel.join_ref, pending.join.ref, channel.topic, status, codec, data)
        actions: list[Action] = [Send(reply)]
        if pending.replaces is not None:
            actions += self._say_end(pending.replaces, CLOSE, EMPTY)
        return actions

    def _subscribe(self, channel: GatewayChannel) -> list[Action]:
        channel.worker = None
        return [SubscribeThenJoin(channel)]

    def _place(self, channel: GatewayChannel) -> list[Action]:
        channel.worker = None
        return [PlaceOnWorker(channel)]

    def _hand_over(self, channel: GatewayChannel) -> list[Action]:
        channel.pend_move()
        return [MarkDraining(channel.worker or ""), Forward(channel, commands.Handover(channel.number))]

    def _start_successor(self, channel: GatewayChannel) -> list[Action]:
        new = self.channels.get(channel.topic)
        if new is None or new.phase is not Phase.QUEUED:
            return []
        return self.advance(new, Event.OLD_ENDED)

    def _say_end(self, channel: GatewayChannel, event: str, data: bytes) -> list[Action]:
        return [Send(self.serializer.encode_end(channel.join_ref, channel.topic, event, data))]

    def _drop(self, channel: GatewayChannel) -> list[Action]:
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]
        return [Drop(channel)]

    def _count_not_moved(self, _channel: GatewayChannel) -> list[Action]:
        counters.count("channels_not_moved")
        return []

    def _release(self, released: GatewayChannel) -> list[Action]:
        """Handle the messages held while the channel was pending, up to the next join among them."""
        actions: list[Action] = []
        pending = _pending(released)
        messages, size = pending.messages, pending.bytes
        if released.phase is JOINED:
            released.pending = None
        while messages:
            channel = self.channels.get(released.topic)
            if channel is not None and channel.phase is not JOINED:  # the rest waits for that channel
                _pending(channel).messages, _pending(channel).bytes = messages, size
                break
            message = messages.popleft()
            size -= waiting_size(message)
            self._pending_bytes -= waiting_size(message)
            actions += self._handle(message)
        if self._paused and self._pending_bytes <= self._max_pending_bytes:
            self._paused = False
            actions.append(Resume())
        return actions

    def _unmatched(self, message: Message) -> list[Action]:
        if message.event == JOIN and telemetry.attached("topic_unmatched"):
            telemetry.emit("topic_unmatched", {}, {"topic": message.topic})
        return self._reply(None, message.ref, message.topic, "error", UNMATCHED)

    def _reply(self, join_ref: Any, ref: Any, topic: Any, status: str, data: bytes) -> list[Action]:
        return [Send(self.serializer.encode_reply(join_ref, ref, topic, status, JSON, data))]


def _pending(channel: GatewayChannel) -> Pending:
    assert channel.pending is not None, channel.phase
    return channel.pending


_STEPS: Mapping[Step, Callable[[Session, GatewayChannel], list[Action]]] = {
    Step.SUBSCRIBE: Session._subscribe,
    Step.PLACE: Session._place,
    Step.DELIVER: lambda _, channel: [Deliver(channel)],
    Step.REPLACE: lambda _, channel: [Forward(channel, commands.Replace(channel.number))],
    Step.START_SUCCESSOR: Session._start_successor,
    Step.HAND_OVER: Session._hand_over,
    Step.END_AT_WORKER: lambda _, channel: [
        Forward(channel, commands.SocketDown([channel.number], "closed"))
    ],
    Step.SAY_CLOSED: lambda session, channel: session._say_end(channel, CLOSE, EMPTY),
    Step.SAY_ERROR: lambda session, channel: session._say_end(channel, ERROR, CHANNEL_CRASH),
    Step.COUNT_NOT_MOVED: Session._count_not_moved,
    Step.DROP: Session._drop,
    Step.RELEASE: Session._release,
}
