"""All channels of a worker, by link and number. Takes link commands, gives link commands."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import Context
from typing import Any

import msgspec

from mesh import contexts, payloads
from mesh.bus.contract import Bus
from mesh.channel import Channel, RemoteChannel
from mesh.debug import ChannelInfo
from mesh.endpoint import Endpoint
from mesh.errors import WireError
from mesh.link import commands
from mesh.pubsub import PubSub
from mesh.routes import Route
from mesh.runtime.channel_server import ChannelServer
from mesh.runtime.context import WorkerContext
from mesh.runtime.holds import Holds, marks
from mesh.runtime.luggage import Tracked
from mesh.runtime.members import Members
from mesh.runtime.moving import Moves
from mesh.runtime.presences import Presences
from mesh.runtime.recent import Recent
from mesh.runtime.runners import Runners
from mesh.settings import WorkerSettings
from mesh.socket import Socket
from mesh.telemetry import counters, get_logger

log = get_logger("mesh.channels")

_decode_assigns = msgspec.msgpack.Decoder(dict[str, Any]).decode

NO_ROUTE = {"reason": "unmatched topic"}


def decode_assigns(data: bytes) -> dict[str, Any]:
    """What a JOIN carries of its socket's assigns. Raises WireError for anything else."""
    try:
        return _decode_assigns(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not the assigns of a socket: {error}") from None


class Channels:
    """The channels of a worker.

    Args:
        endpoint: the application.
        bus: where broadcasts go.
        send: queues a command for the gateway behind a link; returns how many it has sent there.
        settings: of the worker.
        version: of the link protocol on a link.

    Attributes:
        marks: how much may wait for one channel before its client is not read from.
        holds: which channels handle no pushes now.
        members: the joined channels by topic, for broadcasts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        bus: Bus,
        send: Callable[[bytes, commands.ToGateway], int],
        settings: WorkerSettings,
        version: Callable[[bytes], int] = lambda _: commands.SPOKEN.newest,
    ) -> None:
        self.endpoint = endpoint
        self.bus = bus
        self.pubsub = PubSub(bus)
        self.send = send
        self.settings = settings
        self.marks = marks(settings)
        self.holds = Holds()
        self._version = version
        self.runners = Runners()
        self.presences: Presences | None = None
        self.moves = Moves(version, settings.kill_seconds)
        recent = Recent.of([route.channel for _, route in self._own_routes()])
        self.members = Members(bus, send, self.holds, recent)
        self._gateways: dict[bytes, str] = {}
        self._by_link: dict[bytes, dict[int, ChannelServer]] = {}
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
        self.moves.settle(link)
        for topic in self.holds.forget(link):
            self.members.hold(topic)

    def gateway_of(self, link: bytes) -> str:
        """The id of the gateway behind a link; empty if it is gone."""
        return self._gateways.get(link, "")

    def handle(self, link: bytes, command: commands.ToWorker) -> None:
        """Carry out one command of a gateway."""
        servers = self._by_link.get(link)
        if servers is None:
            log.warning("command on a link without hello ignored", command=type(command).__name__)
            return
        if isinstance(command, (commands.Push, commands.Leave, commands.Handover)):
            server = servers.get(command.channel)
            if server is None:
                counters.count("pushes_without_channel")
            elif type(command) is commands.Push:
                server.post_sized(command)
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
        elif isinstance(command, commands.TopicPaused):
            self.holds.pause_topic(command.topic, link)
            self.members.hold(command.topic)
        elif isinstance(command, commands.TopicResumed):
            self.holds.resume_topic(command.topic, link)
            self.members.hold(command.topic)
        elif isinstance(command, commands.SocketDown):
            for number in command.channels:
                server = servers.get(number)
                if server is not None:
                    server.end(command.reason)
                    continue
                moved = self.moves.take_back(link, number)
                if moved is not None:
                    moved.take_back(command.reason)

    def malformed(self, link: bytes, number: int) -> None:
        """A command that names this channel cannot be read: it crashes, and if there is none, its join."""
        server = self.server(link, number)
        if server is not None:
            server.malformed()
        elif link in self._by_link:
            self.send(link, commands.Crashed(number, 0))

    # Back-pressure (docs/protocol.md §3.3)

    def hold_link(self, link: bytes, held: bool) -> None:
        """Much waits for a gateway: its channels handle no pushes until that is no longer so."""
        self.holds.hold_link(link, held)
        for server in list(self._by_link.get(link, {}).values()):
            server.hold(self.holds.held(server.topic, link))

    def pause_pushes(self, link: bytes, number: int) -> bool:
        """Ask a gateway not to read from a channel's client; False if it does not understand that."""
        if self._version(link) < commands.BACK_PRESSURE:
            return False
        self.send(link, commands.PushesPaused(number))
        return True

    def resume_pushes(self, link: bytes, number: int) -> None:
        """Undo it."""
        self.send(link, commands.PushesResumed(number))

    def _join(self, link: bytes, servers: dict[int, ChannelServer], join: commands.Join) -> None:
        if self.moves.begun:
            return  # when the link ends, its gateway sends it to another worker
        if join.channel in servers:
            self.malformed(link, join.channel)
            return
        route = self._route(join)
        if route is None:
            self.send(link, commands.Refused(join.channel, *payloads.encode(NO_ROUTE)))
            return
        try:
            assigns, given = decode_assigns(join.assigns), _copy(dict(route.assigns))
            assigns = given | assigns if join.moved else assigns | given
        except (WireError, TypeError):
            log.error("join with unreadable assigns refused", topic=join.topic)
            self.send(link, commands.Refused(join.channel, *payloads.encode(NO_ROUTE)))
            return
        socket = Socket(join.socket_id, assigns, join.transport, join.serializer)
        context = contexts.fresh()
        server = context.run(self._make, link, join, route.channel, socket, context)
        if server is not None:
            servers[join.channel] = server

    def _make(
        self, link: bytes, join: commands.Join, channel: type[Channel], socket: Socket, context: Context
    ) -> ChannelServer | None:
        try:
            return ChannelServer(self, link, join, channel, socket, context)
        except Exception as error:
            log.error("channel could not be made", topic=join.topic, exc_info=error)
            crashed = payloads.encode({"reason": "join crashed"})
            self.send(link, commands.Refused(join.channel, *crashed))
            return None

    def _route(self, join: commands.Join) -> Route[type[Channel]] | None:
        mount = self.endpoint.mounts.get(join.mount)
        route = mount.routes.find(join.topic) if mount is not None else None
        return None if route is None or issubclass(route.channel, RemoteChannel) else route

    def server(self, link: bytes, number: int) -> ChannelServer | None:
        """The channel of that number on a link, while it lives."""
        return self._by_link.get(link, {}).get(number)

    def counts(self) -> tuple[int, int]:
        """(channels, topics with members)."""
        return sum(map(len, self._by_link.values())), len(self.members)

    def waiting(self) -> int:
        """Messages that wait in all mailboxes together."""
        return sum(server.waiting for each in self._by_link.values() for server in each.values())

    def waiting_bytes(self) -> int:
        """Of the pushes and broadcasts that wait in all mailboxes together."""
        return sum(server.waiting_bytes for each in self._by_link.values() for server in each.values())

    def busy(self) -> bool:
        """Whether some callback runs or waits, or is about to."""
        servers = (server for each in self._by_link.values() for server in each.values())
        return bool(self.runners.active or self._tasks) or any(server.waits for server in servers)

    # For channel servers

    def remove(self, server: ChannelServer) -> None:
        """The channel has ended."""
        self.moves.over(server)
        servers = self._by_link.get(server.link)
        if servers is not None and servers.get(server.number) is server:
            del servers[server.number]
        self.members.remove(server)

    def untrack(self, server: WorkerContext) -> None:
        """The channel has ended: it is present nowhere."""
        if self.presences is not None:
            self.presences.untrack_all(server)

    # For channels that move

    async def move_away(self, seconds: float) -> None:
        """The worker stops: give to others the channels that can move, in so many seconds at the most.

        No more joins are taken.
        """
        await self.moves.run(
            [each for servers in self._by_link.values() for each in servers.values()], seconds
        )

    def assigns_of(self, server: ChannelServer) -> Mapping[str, Any]:
        """Those of its route."""
        mount = self.endpoint.mounts[server.mount]
        route = mount.routes.find(server.topic)
        return route.assigns if route is not None else {}

    def tracked(self, server: ChannelServer) -> tuple[Tracked, ...]:
        """Its presences."""
        return self.presences.tracked(server) if self.presences is not None else ()

    def move_in(self, server: ChannelServer, tracked: tuple[Tracked, ...]) -> None:
        """It has come: it is present here."""
        if self.presences is not None:
            self.presences.move_in(server, tracked)

    def move_out(self, server: ChannelServer) -> None:
        """It has gone: it will be present elsewhere."""
        self.moves.moved(server)
        if self.presences is not None:
            self.presences.move_out(server)

    def links_closed(self) -> None:
        """The links have ended, the last of a worker that stops: what has moved away is forgotten."""
        self.moves.settle_all()

    def spawn(self, coroutine: Coroutine[Any, Any, None], context: Context) -> None:
        """Run the end of a channel that was killed, in the channel's context."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine, name="channel end", context=context)
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
