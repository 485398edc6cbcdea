"""All channels of a worker, by link and number: handles the commands of links, and sends theirs."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import Context
from typing import Any

from mesh.app.channel import Channel, RemoteChannel
from mesh.app.endpoint import Endpoint
from mesh.app.pubsub import LocalBroadcast, PubSub
from mesh.app.routes import Route
from mesh.bus.contract import Bus
from mesh.bus.frames import Received, original
from mesh.debug import ChannelInfo
from mesh.history.local import LocalHistories
from mesh.history.recorder import NoRecorder, Recorder
from mesh.link import commands
from mesh.settings import WorkerSettings
from mesh.telemetry import counters, get_logger
from mesh.worker.channel.mailbox import MailboxLimits
from mesh.worker.channel.opening import open_channel
from mesh.worker.channel.server import ChannelServer
from mesh.worker.handoff.coordinator import HandoffCoordinator, MovableServer
from mesh.worker.handoff.recent_broadcasts import RecentBroadcasts
from mesh.worker.presence.registry import PresenceRegistry, no_presences
from mesh.worker.push_pauses import PushPauses
from mesh.worker.runners import Runners
from mesh.worker.topic_members import LocalMembers

log = get_logger(__name__)

Servers = dict[int, ChannelServer]
"""The channels of one link, by number."""


class Channels:
    """The channels of a worker.

    Args:
        endpoint: the application.
        bus: the bus for broadcasts.
        send: queues a command for the gateway at a link; returns the number of commands sent there.
        settings: the settings of the worker.
        version: returns the version of a link.
        make_presences: makes the worker's presences, given a function that broadcasts to its members.
        recorder: records the topics that have a history; by default, none are recorded.

    Attributes:
        kept: the topics that have a history.
        recorder: records them.
        intercepts_kept: whether some Channel class here intercepts an event that some history keeps.
        mailbox_limits: how much may wait for one channel.
        push_pauses: the topics and links whose channels must not handle pushes now.
        members: the channels by topic, for broadcasts.
        presences: the presences of the worker.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        bus: Bus,
        send: Callable[[bytes, commands.ToGateway], int],
        settings: WorkerSettings,
        version: Callable[[bytes], int] = lambda _: commands.SPOKEN.newest,
        make_presences: Callable[[LocalBroadcast], PresenceRegistry] = no_presences,
        recorder: Recorder | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.bus = bus
        self.kept = endpoint.kept_topics
        self.recorder = recorder if recorder is not None else NoRecorder(bus)
        self.histories = LocalHistories(self.recorder, self.kept)
        self.send = send
        self.settings = settings
        self.mailbox_limits = MailboxLimits.of(settings)
        self.push_pauses = PushPauses()
        self._version = version
        self.runners = Runners()
        self.handoffs = HandoffCoordinator(version, settings.kill_seconds)
        recent = RecentBroadcasts.of([route.channel for _, route in self._own_routes()])
        self.members = LocalMembers(bus, send, self.push_pauses, recent)
        self.pubsub = PubSub(bus, self.members.local_broadcast, self.histories, self.recorder.publish)
        self.presences = make_presences(self.members.local_broadcast)
        self.intercepts_kept = self._intercepts_kept()
        self._gateways: dict[bytes, str] = {}
        self._by_link: dict[bytes, Servers] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[tuple[str, str]]:
        """Return (mount, pattern) of every route that this worker serves."""
        return [(path, route.pattern) for path, route in self._own_routes()]

    def received_patterns(self) -> list[str]:
        """Return the patterns of the routes whose broadcasts this worker must receive."""
        return [
            route.pattern
            for _, route in self._own_routes()
            if route.channel.intercept or route.channel.history is not None
        ]

    def _intercepts_kept(self) -> bool:
        events = {event for _, route in self._own_routes() for event in route.channel.intercept}
        return any(kept.keeps(event) for kept in self.kept for event in events)

    def _own_routes(self) -> Iterator[tuple[str, Route[type[Channel]]]]:
        """Yield (mount, route) of all routes except those that workers in other languages serve."""
        for path, mount in self.endpoint.mounts.items():
            for route in mount.routes.routes:
                if not issubclass(route.channel, RemoteChannel):
                    yield path, route

    # Called for the bus

    def on_broadcast(self, topic: str, header: Received, data: bytes) -> None:
        """Handle a broadcast; one that is kept is delivered when it comes recorded."""
        if not self.recorder.on_broadcast(topic, header, data):
            self.members.broadcast(topic, header, data)

    def on_recorded(self, topic: str, header: Received, data: bytes) -> None:
        """Handle a recorded broadcast, or the claim of a recorder."""
        self.recorder.on_recorded(topic, header, data)
        if header.event and (self.intercepts_kept or topic in self.members.subscribers):
            self.members.broadcast(topic, original(header), data)

    # Called for links

    def gateway_up(self, link: bytes, gateway: str) -> None:
        """A gateway is linked: it may send joins."""
        self._gateways[link] = gateway
        self._by_link.setdefault(link, {})

    def gateway_down(self, link: bytes) -> None:
        """A gateway is gone: end its channels, for which `terminate` runs."""
        self._gateways.pop(link, None)
        servers = self._by_link.pop(link, {})
        for server in list(servers.values()):
            server.client_gone("closed")
        self.handoffs.forget_moved(link)
        for topic in self.push_pauses.forget(link):
            self.members.pauses_changed(topic)

    def recovers(self, link: bytes) -> bool:
        """Return whether the gateway at a link can deliver what a client has missed."""
        return self._version(link) >= commands.HISTORY

    def gateway_of(self, link: bytes) -> str:
        """Return the id of the gateway at a link; empty if it is gone."""
        return self._gateways.get(link, "")

    def handle(self, link: bytes, command: commands.ToWorker) -> None:
        """Carry out a command of a gateway."""
        servers = self._by_link.get(link)
        if servers is None:
            log.warning("command on a link without hello ignored", command=type(command).__name__)
            return
        if type(command) is commands.Push:
            server = servers.get(command.channel)
            if server is not None:
                server.mailbox.post_sized(command)
            else:
                counters.count("pushes_without_channel")
            return
        handler = HANDLERS.get(type(command))
        if handler is not None:
            handler(self, link, servers, command)

    def _leave(self, _: bytes, servers: Servers, leave: commands.Leave) -> None:
        server = self._receiver(servers, leave.channel)
        if server is not None:
            server.leave(leave)

    def _handover(self, _: bytes, servers: Servers, handover: commands.Handover) -> None:
        server = self._receiver(servers, handover.channel)
        if server is not None:
            server.mailbox.post(handover)

    def _receiver(self, servers: Servers, number: int) -> ChannelServer | None:
        server = servers.get(number)
        if server is None:
            counters.count("pushes_without_channel")
        return server

    def _replace(self, link: bytes, servers: Servers, replace: commands.Replace) -> None:
        server = servers.get(replace.channel)
        if server is not None:
            server.replace()
        else:
            self.send(link, commands.Closed(replace.channel, 0))

    def _pause_topic(self, link: bytes, _: Servers, paused: commands.TopicPaused) -> None:
        self.push_pauses.pause_topic(paused.topic, link)
        self.members.pauses_changed(paused.topic)

    def _resume_topic(self, link: bytes, _: Servers, resumed: commands.TopicResumed) -> None:
        self.push_pauses.resume_topic(resumed.topic, link)
        self.members.pauses_changed(resumed.topic)

    def _socket_down(self, link: bytes, servers: Servers, down: commands.SocketDown) -> None:
        for number in down.channels:
            server = servers.get(number)
            if server is not None:
                server.client_gone(down.reason)
                continue
            moved = self.handoffs.take_back(link, number)
            if moved is not None:
                moved.take_back(down.reason)

    def malformed(self, link: bytes, number: int) -> None:
        """A command that names this channel cannot be decoded: crash the channel or its join."""
        server = self.server(link, number)
        if server is not None:
            server.malformed()
        elif link in self._by_link:
            self.send(link, commands.Crashed(number, 0))

    # Back-pressure (docs/protocol.md §3.3)

    def pause_link(self, link: bytes, paused: bool) -> None:
        """Pause or resume the pushes of all channels of a gateway for which too much waits."""
        self.push_pauses.pause_link(link, paused)
        for server in list(self._by_link.get(link, {}).values()):
            server.pause_pushes(self.push_pauses.paused(server.context.topic, link))

    def pause_reading(self, link: bytes, number: int) -> bool:
        """Ask a gateway not to read from a channel's client; return False if it does not support that."""
        if self._version(link) < commands.BACK_PRESSURE:
            return False
        self.send(link, commands.PushesPaused(number))
        return True

    def resume_reading(self, link: bytes, number: int) -> None:
        """Undo `pause_reading`."""
        self.send(link, commands.PushesResumed(number))

    def _join(self, link: bytes, servers: Servers, join: commands.Join) -> None:
        if self.handoffs.started:
            return  # when the link ends, its gateway sends the join to another worker
        if join.channel in servers:
            self.malformed(link, join.channel)
            return
        opened = open_channel(self, self.endpoint, link, join)
        if isinstance(opened, commands.Refused):
            self.send(link, opened)
        else:
            servers[join.channel] = opened

    def server(self, link: bytes, number: int) -> ChannelServer | None:
        """Return the live channel with that number on a link, or None."""
        return self._by_link.get(link, {}).get(number)

    def counts(self) -> tuple[int, int]:
        """Return (number of channels, number of topics with members)."""
        return sum(map(len, self._by_link.values())), len(self.members)

    def waiting(self) -> int:
        """Return the number of messages in all mailboxes."""
        return sum(server.mailbox.waiting for server in self._servers())

    def waiting_bytes(self) -> int:
        """Return the bytes of the pushes and broadcasts in all mailboxes."""
        return sum(server.mailbox.waiting_bytes for server in self._servers())

    def busy(self) -> bool:
        """Whether a callback runs, waits, or is about to run."""
        working = bool(self.runners.active or self._tasks)
        return working or any(server.context.timed for server in self._servers())

    def _servers(self) -> Iterator[ChannelServer]:
        return (server for each in self._by_link.values() for server in each.values())

    # Called by channel servers

    def remove(self, server: MovableServer) -> None:
        """Remove a channel that has ended or moved: it receives no commands and broadcasts any longer."""
        if self.handoffs.started:
            self.handoffs.finished(server)
        context = server.context
        servers, number = self._by_link.get(context.link), context.number
        if servers is not None and servers.get(number) is server:
            del servers[number]
        self.members.remove(server)

    # Moving channels

    async def move_away(self, seconds: float) -> None:
        """The worker stops: move the channels that can move to other workers, within `seconds`.

        From now on it takes no joins.
        """
        await self.handoffs.run(list(self._servers()), seconds)

    def assigns_of(self, mount: str, topic: str) -> Mapping[str, Any]:
        """Return the assigns of the route for a topic."""
        route = self.endpoint.mounts[mount].routes.find(topic)
        return route.assigns if route is not None else {}

    def move_out(self, server: MovableServer) -> None:
        """Keep the presences of a channel that has moved until another worker tracks them."""
        self.handoffs.moved(server)
        self.presences.move_out(server.context)

    def links_closed(self) -> None:
        """All links have ended: channels that have moved cannot be taken back any longer."""
        self.handoffs.forget_all_moved()

    def spawn(self, coroutine: Coroutine[Any, Any, None], context: Context) -> None:
        """Run the end of a channel in its execution context. `aclose` waits for it."""
        task = asyncio.create_task(coroutine, name="channel end", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def live(self) -> list[ChannelInfo]:
        """Return information about each channel."""
        return [
            ChannelInfo(
                server.context.topic,
                server.status,
                type(server.channel).__name__,
                server.channel.socket.id,
                self.gateway_of(link),
                server.mailbox.waiting,
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


HANDLERS: dict[type[Any], Any] = {
    commands.Join: Channels._join,
    commands.Leave: Channels._leave,
    commands.Handover: Channels._handover,
    commands.Replace: Channels._replace,
    commands.TopicPaused: Channels._pause_topic,
    commands.TopicResumed: Channels._resume_topic,
    commands.SocketDown: Channels._socket_down,
}
"""All commands except Push, which `handle` checks first, and Hello, which the router handles."""
