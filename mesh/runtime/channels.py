"""All channels of a worker: by link and number, by topic. Takes link commands, gives link commands."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol

import msgspec

from mesh import payloads, topics
from mesh.bus.barrier import subscribed
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.channel import Channel, RemoteChannel
from mesh.debug import ChannelInfo
from mesh.endpoint import Endpoint
from mesh.errors import DecodeError
from mesh.link import commands
from mesh.messages import Broadcast
from mesh.pubsub import BusAdapter, PubSub
from mesh.routes import Route
from mesh.runtime.channel_server import ChannelServer
from mesh.runtime.context import WorkerContext
from mesh.runtime.mail import Info, Out
from mesh.runtime.presences import Presences
from mesh.runtime.runners import Runners
from mesh.settings import WorkerSettings
from mesh.socket import Socket
from mesh.telemetry import counters, get_logger

log = get_logger("mesh.channels")

_decode_assigns = msgspec.msgpack.Decoder(dict[str, Any]).decode

NO_ROUTE = {"reason": "unmatched topic"}


class Bus(BusAdapter, Protocol):
    """A bus that tells the number of the last message it published."""

    @property
    def sequence(self) -> int:
        """The last number given."""


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


class Channels:
    """The channels of a worker.

    Args:
        endpoint: the application.
        bus: where broadcasts go.
        send: queues a command for the gateway behind a link; returns how many it has sent there.
        settings: of the worker.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        bus: Bus,
        send: Callable[[bytes, commands.ToGateway], int],
        settings: WorkerSettings,
    ) -> None:
        self.endpoint = endpoint
        self.bus = bus
        self.pubsub = PubSub(bus)
        self.send = send
        self.settings = settings
        self.runners = Runners()
        self.presences: Presences | None = None
        self._gateways: dict[bytes, str] = {}
        self._by_link: dict[bytes, dict[int, ChannelServer]] = {}
        self._members: dict[str, TopicMembers] = {}
        self._subscribers: dict[str, dict[WorkerContext, None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[tuple[str, str]]:
        """(mount, pattern) of every route this worker serves."""
        return [(path, route.pattern) for path, route in self._own_routes()]

    def intercepted_patterns(self) -> list[str]:
        """Patterns of the routes whose broadcasts this worker must see."""
        return [route.pattern for _, route in self._own_routes() if route.channel.intercept]

    def _own_routes(self) -> Iterator[tuple[str, Route[type[Channel]]]]:
        """All but those that workers in other languages serve."""
        for path, mount in self.endpoint.mounts.items():
            for route in mount.routes.routes:
                if not issubclass(route.channel, RemoteChannel):
                    yield path, route

    # From the links

    def gateway_up(self, link: bytes, gateway: str) -> None:
        """A gateway said hello."""
        self._gateways[link] = gateway
        self._by_link.setdefault(link, {})

    def gateway_down(self, link: bytes) -> None:
        """A gateway is gone: its channels end, `terminate` runs."""
        self._gateways.pop(link, None)
        servers = self._by_link.pop(link, {})
        for server in list(servers.values()):
            server.end("closed")

    def gateway_of(self, link: bytes) -> str:
        """The id of the gateway behind a link; empty if it is gone."""
        return self._gateways.get(link, "")

    def handle(self, link: bytes, command: commands.ToWorker) -> None:
        """Carry out one command of a gateway."""
        servers = self._by_link.get(link)
        if servers is None:
            log.warning("command on a link without hello ignored", command=type(command).__name__)
            return
        if isinstance(command, (commands.Push, commands.Leave)):
            server = servers.get(command.channel)
            if server is None:
                counters.count("pushes_without_channel")
            else:
                server.post(command)
        elif isinstance(command, commands.Join):
            self._join(link, servers, command)
        elif isinstance(command, commands.Replace):
            server = servers.get(command.channel)
            if server is None:
                self.send(link, commands.Closed(command.channel, 0))
            else:
                server.replace()
        elif isinstance(command, commands.SocketDown):
            for number in command.channels:
                server = servers.get(number)
                if server is not None:
                    server.end(command.reason)

    def _join(self, link: bytes, servers: dict[int, ChannelServer], join: commands.Join) -> None:
        route = self._route(join)
        if route is None:
            self.send(link, commands.Refused(join.channel, *payloads.encode(NO_ROUTE)))
            return
        try:
            assigns = _decode_assigns(join.assigns) | _copy(dict(route.assigns))
        except (msgspec.MsgspecError, TypeError):
            log.error("join with unreadable assigns refused", topic=join.topic)
            self.send(link, commands.Refused(join.channel, *payloads.encode(NO_ROUTE)))
            return
        socket = Socket(join.socket_id, assigns, join.transport, join.serializer)
        try:
            servers[join.channel] = ChannelServer(self, link, join, route.channel, socket)
        except Exception as error:
            log.error("channel could not be made", topic=join.topic, exc_info=error)
            crashed = payloads.encode({"reason": "join crashed"})
            self.send(link, commands.Refused(join.channel, *crashed))

    def _route(self, join: commands.Join) -> Route[type[Channel]] | None:
        mount = self.endpoint.mounts.get(join.mount)
        route = mount.routes.find(join.topic) if mount is not None else None
        return None if route is None or issubclass(route.channel, RemoteChannel) else route

    # From the bus

    def published(self, topic: str, sequence: int) -> None:
        """This worker broadcast to `topic`: what its members are sent now must follow that."""
        members = self._members.get(topic)
        if members is not None:
            members.sequence = sequence

    def broadcast(self, topic: str, header: Header, data: bytes) -> None:
        """A broadcast for the channels that intercept its event or subscribed to its topic."""
        members = self._members.get(topic)
        if members is not None:
            self._intercept(members, header, data)
        subscribers = self._subscribers.get(topic)
        if subscribers:
            self._inform(subscribers, topic, header, data)

    def _intercept(self, members: TopicMembers, header: Header, data: bytes) -> None:
        event, sender = header.event, header.sender
        skipped = sender if sender is not None and sender.skip else None
        for server in members.servers:
            if event not in server.intercepts:
                continue
            if skipped is not None and skipped[:2] == (self.gateway_of(server.link), server.number):
                continue
            server.post(Out(event, header.codec, data))

    def _inform(
        self, subscribers: dict[WorkerContext, None], topic: str, header: Header, data: bytes
    ) -> None:
        sender = header.sender if header.sender is not None and header.sender.skip else None
        for server in subscribers:
            if sender is not None and sender[:2] == (self.gateway_of(server.link), server.number):
                continue
            try:
                payload = payloads.decode(header.codec, data)
            except DecodeError as error:
                counters.count("bus_messages_malformed")
                log.warning("broadcast dropped", topic=topic, origin=header.origin, reason=str(error))
                return
            server.post(Info(Broadcast(topic, header.event, payload)))

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
            self.send(link, commands.Broadcast(topic, after, event, codec, data))
        for server in members.servers:
            if event in server.intercepts:
                server.post(Out(event, codec, data))

    def server(self, link: bytes, number: int) -> ChannelServer | None:
        """The channel of that number on a link, while it lives."""
        return self._by_link.get(link, {}).get(number)

    def counts(self) -> tuple[int, int]:
        """(channels, topics with members)."""
        return sum(map(len, self._by_link.values())), len(self._members)

    def waiting(self) -> int:
        """Messages that wait in all mailboxes together."""
        return sum(server.waiting for each in self._by_link.values() for server in each.values())

    def busy(self) -> bool:
        """Whether some callback runs or waits, or is about to."""
        servers = (server for each in self._by_link.values() for server in each.values())
        return bool(self.runners.active or self._tasks) or any(server.waits for server in servers)

    # For channel servers

    def add_member(self, server: ChannelServer) -> TopicMembers:
        """The channel has joined."""
        members = self._members.get(server.topic)
        if members is None:
            members = self._members[server.topic] = TopicMembers()
        members.servers[server] = None
        carried, since = members.links.get(server.link, (0, self.bus.sequence))
        members.links[server.link] = carried + 1, since
        return members

    def remove(self, server: ChannelServer) -> None:
        """The channel has ended."""
        servers = self._by_link.get(server.link)
        if servers is not None and servers.get(server.number) is server:
            del servers[server.number]
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
            self.bus.subscribe(topics.exact(topic))
        subscribers[server] = None
        return subscribed(self.bus)

    def unsubscribe(self, server: WorkerContext, topic: str) -> None:
        """Undo `subscribe`."""
        subscribers = self._subscribers.get(topic)
        if subscribers is None or subscribers.pop(server, self) is self:
            return
        if not subscribers:
            del self._subscribers[topic]
            self.bus.unsubscribe(topics.exact(topic))

    def untrack(self, server: ChannelServer) -> None:
        """The channel has ended: it is present nowhere."""
        if self.presences is not None:
            self.presences.untrack_all(server)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the end of a channel that was killed."""
        task = asyncio.get_running_loop().create_task(coroutine, name="channel end")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def live(self) -> list[ChannelInfo]:
        """Every channel there is."""
        return [
            ChannelInfo(
                server.topic,
                server.status,
                type(server.channel).__name__,
                server.channel.socket.id,
                self.gateway_of(link),
                server.waiting,
            )
            for link, servers in self._by_link.items()
            for server in servers.values()
        ]

    async def aclose(self) -> None:
        """End every channel: clients get `phx_error` and join another worker."""
        for servers in self._by_link.values():
            for server in list(servers.values()):
                server.shut_down()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * self.settings.kill_seconds)
        await self.runners.aclose()


def _copy(value: Any) -> Any:
    """A channel's own copy of a route's assigns: no other sees what it changes in a list or a dict."""
    if type(value) is dict:
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if type(value) is list else value
