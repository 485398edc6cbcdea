"""Which channels of a worker a broadcast concerns: members of its topic, and subscribers of it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mesh import payloads, topics
from mesh.bus.contract import Bus
from mesh.bus.delivery import subscribed
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.errors import DecodeError
from mesh.link import commands
from mesh.runtime.context import WorkerContext
from mesh.runtime.holds import Holds
from mesh.runtime.mail import Out, Subscribed
from mesh.runtime.recent import Recent
from mesh.telemetry import Complaints, get_logger

if TYPE_CHECKING:
    from mesh.runtime.channel_server import ChannelServer

_malformed = Complaints(get_logger("mesh.channels"), "broadcast dropped")


class TopicMembers:
    """The joined channels of one topic on this worker.

    Attributes:
        servers: the channels.
        sequence: bus number of this worker's last broadcast to the topic.
        links: by link: how many of the channels it carries, and the bus number when the first joined.
    """

    __slots__ = ("links", "sequence", "servers")

    def __init__(self) -> None:
        self.servers: dict[ChannelServer, None] = {}
        self.sequence = 0
        self.links: dict[bytes, tuple[int, int]] = {}


class Members:
    """The channels of a worker, as broadcasts find them.

    Args:
        bus: where this worker subscribes.
        send: queues a command for the gateway behind a link.
        holds: which channels handle no pushes now.
        recent: what channels that come from another worker may have missed; None if none can.
    """

    def __init__(
        self,
        bus: Bus,
        send: Callable[[bytes, commands.ToGateway], int],
        holds: Holds,
        recent: Recent | None,
    ) -> None:
        self._bus = bus
        self._send = send
        self._holds = holds
        self._recent = recent
        self._members: dict[str, TopicMembers] = {}
        self._subscribers: dict[str, dict[WorkerContext, None]] = {}

    def __len__(self) -> int:
        """How many topics have members."""
        return len(self._members)

    def add(self, server: "ChannelServer") -> TopicMembers:
        """The channel has joined."""
        members = self._members.get(server.topic)
        if members is None:
            members = self._members[server.topic] = TopicMembers()
        members.servers[server] = None
        carried, since = members.links.get(server.link, (0, self._bus.sequence))
        members.links[server.link] = carried + 1, since
        if self._holds and self._holds.held(server.topic, server.link):
            server.hold(True)
        return members

    def remove(self, server: "ChannelServer") -> None:
        """The channel has ended."""
        members = server.members
        if members is None:
            return
        if members.servers.pop(server, self) is self:
            return
        carried, since = members.links[server.link]
        if carried > 1:
            members.links[server.link] = carried - 1, since
        else:
            del members.links[server.link]
        if not members.servers and self._members.get(server.topic) is members:
            del self._members[server.topic]

    def subscribe(self, server: WorkerContext, topic: str) -> "asyncio.Future[None]":
        """Deliver broadcasts on `topic` to the channel; done when none is missed any longer."""
        topics.check(topic)
        subscribers = self._subscribers.setdefault(topic, {})
        if not subscribers:
            self._bus.subscribe(topics.exact(topic))
        subscribers[server] = None
        return subscribed(self._bus)

    def unsubscribe(self, server: WorkerContext, topic: str) -> None:
        """Undo `subscribe`."""
        subscribers = self._subscribers.get(topic)
        if subscribers is None or subscribers.pop(server, self) is self:
            return
        if not subscribers:
            del self._subscribers[topic]
            self._bus.unsubscribe(topics.exact(topic))

    def hold(self, topic: str) -> None:
        """What holds the channels on `topic` has changed."""
        members = self._members.get(topic)
        for server in members.servers if members is not None else ():
            server.hold(self._holds.held(topic, server.link))

    # Broadcasts

    def published(self, topic: str, sequence: int) -> None:
        """This worker broadcast to `topic`: what its members are sent now must follow that."""
        members = self._members.get(topic)
        if members is not None:
            members.sequence = sequence

    def broadcast(self, topic: str, header: Header, data: bytes) -> None:
        """A broadcast for the channels that intercept its event or subscribed to its topic."""
        recent = self._recent is not None and self._recent.keeps(header.event)
        if recent and not _readable(topic, header, data):
            return
        if recent and self._recent is not None:
            self._recent.add(topic, header, data)
        members = self._members.get(topic)
        if members is not None and not self._intercept(members, recent, topic, header, data):
            return
        subscribers = self._subscribers.get(topic)
        if subscribers:
            self._inform(subscribers, topic, header, data)

    def _intercept(
        self, members: TopicMembers, readable: bool, topic: str, header: Header, data: bytes
    ) -> bool:
        """Returns whether it can be read, as far as that had to be looked at."""
        event, sender = header.event, header.sender
        skipped = sender if sender is not None and sender.skip else None
        for server in members.servers:
            if event not in server.intercepts:
                continue
            if not readable:
                if not _readable(topic, header, data):
                    return False
                readable = True
            if skipped is not None and server.named_by(skipped):
                continue
            server.post_sized(Out(event, header.codec, data))
        return True

    def _inform(
        self, subscribers: dict[WorkerContext, None], topic: str, header: Header, data: bytes
    ) -> None:
        sender = header.sender if header.sender is not None and header.sender.skip else None
        if not _readable(topic, header, data):
            return
        for server in subscribers:
            if sender is not None and server.named_by(sender):
                continue
            server.post_sized(Subscribed(topic, header.event, header.codec, data))

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """To the members of `topic` that this worker serves, and to its channels that subscribed to it.

        It does not travel on the bus.

        Raises:
            PayloadError: if the payload is neither an object nor bytes.
        """
        members, subscribers = self._members.get(topic), self._subscribers.get(topic)
        if members is None and subscribers is None:
            return
        codec, data = payloads.encode_object(payload)
        if subscribers is not None:
            self._inform(subscribers, topic, Header(VERSION, BROADCAST, "", 0, event, codec), data)
        if members is None:
            return
        for link, (_, since) in members.links.items():
            # Older broadcasts than the first member there may never have reached that gateway.
            after = members.sequence if members.sequence > since else 0
            self._send(link, commands.Broadcast(topic, after, event, codec, data))
        for server in members.servers:
            if event in server.intercepts:
                server.post_sized(Out(event, codec, data))

    # For channels that move

    def seen(self, server: "ChannelServer") -> dict[str, int]:
        """Of each origin the last broadcast for a channel that intercepts, as far as heard lately."""
        return self._recent.seen(server.topic) if self._recent is not None and server.intercepts else {}

    def missed(self, server: "ChannelServer", seen: dict[str, int]) -> list[Out]:
        """Broadcasts for a channel that has come, which the worker it comes from had not heard."""
        if self._recent is None or not server.intercepts:
            return []
        return [
            Out(header.event, header.codec, data)
            for header, data in self._recent.after(server.topic, seen)
            if header.event in server.intercepts
            and not (header.sender is not None and header.sender.skip and server.named_by(header.sender))
        ]


def _readable(topic: str, header: Header, data: bytes) -> bool:
    """Whether channels can be given a broadcast: else it is counted, and costs nobody but its origin."""
    try:
        payloads.check_message(header.event, header.codec, data)
    except DecodeError as error:
        fields = {"topic": topic, "broadcast": header.event}
        _malformed.about(header.origin, "bus_messages_malformed", str(error), **fields)
        return False
    return True
