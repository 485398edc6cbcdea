"""The channels of a worker that receive a broadcast: those that intercept it or have subscribed to it."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from mesh.app import topics
from mesh.bus.contract import Bus
from mesh.bus.delivery import subscribed
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.errors import DecodeError
from mesh.link import commands
from mesh.protocol import payloads
from mesh.protocol.messages import Sender
from mesh.telemetry import Complaints, get_logger
from mesh.worker.channel.mailbox import InterceptedBroadcast, Mailbox, SubscribedBroadcast
from mesh.worker.handoff.recent_broadcasts import RecentBroadcasts
from mesh.worker.push_pauses import PushPauses

_malformed = Complaints(get_logger(__name__), "broadcast dropped")


class Subscriber(Protocol):
    """A channel that subscribed to a topic."""

    @property
    def mailbox(self) -> Mailbox:
        """Receives the broadcasts."""

    def is_sender(self, sender: Sender) -> bool:
        """Return whether the channel is the sender of a broadcast."""


class MemberContext(Subscriber, Hashable, Protocol):
    """A channel whose client is a member of its topic."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def link(self) -> bytes:
        """The link to the client's gateway."""

    @property
    def number(self) -> int:
        """The channel's number on that link."""

    @property
    def local_topic(self) -> "LocalTopic | None":
        """The result of `add` for it; None before."""


class Member(Protocol):
    """The server of a channel whose client is a member of a topic."""

    @property
    def context(self) -> MemberContext:
        """The channel's context."""

    @property
    def mailbox(self) -> Mailbox:
        """Receives the broadcasts that it intercepts."""

    @property
    def intercepts(self) -> frozenset[str]:
        """The events whose broadcasts it intercepts."""

    def pause_pushes(self, paused: bool) -> None:
        """Handle no pushes while `paused` is true."""


class LocalTopic:
    """The members of one topic that this worker serves.

    Attributes:
        members: their channels.
        sequence: the bus number of this worker's last broadcast to the topic.
        links: by link, the number of its channels, and the bus number when the first one joined.
    """

    __slots__ = ("links", "members", "sequence")

    def __init__(self) -> None:
        self.members: dict[Member, None] = {}
        self.sequence = 0
        self.links: dict[bytes, tuple[int, int]] = {}


class LocalMembers:
    """The members of all topics that a worker serves, and its channels that subscribed to topics.

    Args:
        bus: the bus, on which this worker subscribes.
        send: queues a command for the gateway behind a link.
        push_pauses: which channels must not handle pushes now.
        recent: what channels from other workers may have missed; None if none can move.

    Attributes:
        subscribers: the channels that subscribed to a topic, by topic.
    """

    def __init__(
        self,
        bus: Bus,
        send: Callable[[bytes, commands.ToGateway], int],
        push_pauses: PushPauses,
        recent: RecentBroadcasts | None,
    ) -> None:
        self._bus = bus
        self._send = send
        self._push_pauses = push_pauses
        self._recent = recent
        self._topics: dict[str, LocalTopic] = {}
        self.subscribers: dict[str, dict[Subscriber, None]] = {}

    def __len__(self) -> int:
        """Return the number of topics with members."""
        return len(self._topics)

    def add(self, member: Member) -> LocalTopic:
        """Add a channel whose client has joined."""
        name, link = member.context.topic, member.context.link
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = LocalTopic()
        topic.members[member] = None
        count, since = topic.links.get(link, (0, self._bus.sequence))
        topic.links[link] = count + 1, since
        if self._push_pauses and self._push_pauses.paused(name, link):
            member.pause_pushes(True)
        return topic

    def remove(self, member: Member) -> None:
        """Remove a channel that has ended."""
        context = member.context
        topic, link = context.local_topic, context.link
        if topic is None or topic.members.pop(member, self) is self:
            return
        count, since = topic.links[link]
        if count > 1:
            topic.links[link] = count - 1, since
        else:
            del topic.links[link]
        name = context.topic
        if not topic.members and self._topics.get(name) is topic:
            del self._topics[name]

    def subscribe(self, subscriber: Subscriber, topic: str) -> "asyncio.Future[None]":
        """Deliver broadcasts on `topic` to the channel. None is missed once the returned future is done."""
        topics.check(topic)
        subscribers = self.subscribers.setdefault(topic, {})
        if not subscribers:
            self._bus.subscribe(topics.exact(topic))
        subscribers[subscriber] = None
        return subscribed(self._bus)

    def unsubscribe(self, subscriber: Subscriber, topic: str) -> None:
        """Undo `subscribe`."""
        subscribers = self.subscribers.get(topic)
        if subscribers is None or subscribers.pop(subscriber, self) is self:
            return
        if not subscribers:
            del self.subscribers[topic]
            self._bus.unsubscribe(topics.exact(topic))

    def pauses_changed(self, topic: str) -> None:
        """A topic was paused or resumed: inform its channels."""
        local_topic = self._topics.get(topic)
        for member in local_topic.members if local_topic is not None else ():
            member.pause_pushes(self._push_pauses.paused(topic, member.context.link))

    # Broadcasts

    def published(self, topic: str, sequence: int) -> None:
        """This worker has broadcast to `topic`: later commands to its members must follow it."""
        local_topic = self._topics.get(topic)
        if local_topic is not None:
            local_topic.sequence = sequence

    def broadcast(self, topic: str, header: Header, data: bytes) -> None:
        """Deliver a broadcast to the channels that intercept its event or subscribed to its topic."""
        recent = self._recent is not None and self._recent.keeps(header.event)
        if recent and not _readable(topic, header, data):
            return
        if recent and self._recent is not None:
            self._recent.add(topic, header, data)
        local_topic = self._topics.get(topic)
        if local_topic is not None and not self._intercept(local_topic, recent, topic, header, data):
            return
        subscribers = self.subscribers.get(topic)
        if subscribers:
            self._deliver_to_subscribers(subscribers, topic, header, data)

    def _intercept(
        self, local_topic: LocalTopic, readable: bool, topic: str, header: Header, data: bytes
    ) -> bool:
        """Return False if the broadcast cannot be decoded; checked only if a channel intercepts it."""
        event, sender = header.event, header.sender
        skipped = sender if sender is not None and sender.skip else None
        for member in local_topic.members:
            if event not in member.intercepts:
                continue
            if not readable:
                if not _readable(topic, header, data):
                    return False
                readable = True
            if skipped is not None and member.context.is_sender(skipped):
                continue
            member.mailbox.post_sized(InterceptedBroadcast(event, header.codec, data))
        return True

    def _deliver_to_subscribers(
        self, subscribers: dict[Subscriber, None], topic: str, header: Header, data: bytes
    ) -> None:
        sender = header.sender if header.sender is not None and header.sender.skip else None
        if not _readable(topic, header, data):
            return
        for subscriber in subscribers:
            if sender is not None and subscriber.is_sender(sender):
                continue
            subscriber.mailbox.post_sized(SubscribedBroadcast(topic, header.event, header.codec, data))

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Broadcast to the members of `topic` that this worker serves, and to its channels that subscribed.

        Nothing is published on the bus.

        Raises:
            PayloadError: if the payload is neither an object nor bytes.
        """
        local_topic, subscribers = self._topics.get(topic), self.subscribers.get(topic)
        if local_topic is None and subscribers is None:
            return
        codec, data = payloads.encode_object(payload)
        if subscribers is not None:
            self._deliver_to_subscribers(
                subscribers, topic, Header(VERSION, BROADCAST, "", 0, event, codec), data
            )
        if local_topic is None:
            return
        for link, (_, since) in local_topic.links.items():
            # Older broadcasts than the first member there may never have reached that gateway.
            after = local_topic.sequence if local_topic.sequence > since else 0
            self._send(link, commands.Broadcast(topic, after, event, codec, data))
        for member in local_topic.members:
            if event in member.intercepts:
                member.mailbox.post_sized(InterceptedBroadcast(event, codec, data))

    # Moving channels

    def seen(self, member: Member) -> dict[str, int]:
        """Return, for each origin, the last broadcast to the channel's topic that was recently received.

        Empty for a channel that does not intercept.
        """
        if self._recent is None or not member.intercepts:
            return {}
        return self._recent.seen(member.context.topic)

    def missed(self, member: Member, seen: dict[str, int]) -> list[InterceptedBroadcast]:
        """Return broadcasts for a channel that was handed over which its old worker had not received."""
        if self._recent is None or not member.intercepts:
            return []
        context = member.context
        return [
            InterceptedBroadcast(header.event, header.codec, data)
            for header, data in self._recent.after(context.topic, seen)
            if header.event in member.intercepts
            and not (header.sender is not None and header.sender.skip and context.is_sender(header.sender))
        ]


def _readable(topic: str, header: Header, data: bytes) -> bool:
    """Return whether a broadcast can be decoded. If not, it is counted, logged and dropped.

    The value is discarded: each channel decodes a value of its own later, which its callbacks may change.
    It is decoded here and not only scanned, because a scan accepts numbers out of range, and a payload
    that cannot be decoded must not end the channels that receive it.
    """
    try:
        payloads.check_message(header.event, header.codec, data)
    except DecodeError as error:
        fields = {"topic": topic, "broadcast": header.event}
        _malformed.about(header.origin, "bus_messages_malformed", str(error), **fields)
        return False
    return True
