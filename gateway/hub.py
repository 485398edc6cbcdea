"""Carries out what sessions decide: the only file that holds sessions, fan-out, links and bus together.

Transports call `connect`, `received` and `disconnected`; links and bus call the methods that begin with
`on_`. Whatever comes is handed to the session that it concerns, and the actions that this decides on are
carried out here. What comes from the links and the bus goes through gateway/ordering first.
"""

from collections.abc import Callable
from itertools import count
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
from gateway.channels.answers import UNAVAILABLE
from gateway.channels.gateway_channel import GatewayChannel
from gateway.channels.phases import Event, Phase
from gateway.channels.worker_commands import COMMANDS
from gateway.client import Client
from gateway.fanout.delivery_stats import CLIENT_GONE
from gateway.fanout.fanout import Fanout
from gateway.fanout.subscribed_topics import SubscribedTopics
from gateway.flow.publisher_pauses import PublisherPauses
from gateway.flow.read_pauses import JOIN, ReadPauses, Reason
from gateway.joins.join_guard import JoinGuard
from gateway.joins.lost_workers import LostWorkers
from gateway.joins.pending import SubscribingJoins
from gateway.joins.worker_links import WorkerLinks
from gateway.ordering.ordering import Ordering
from gateway.socket_ids import SocketIds
from gateway.transports.base import GONE, Encoding, OutboxContract, Transport
from mesh import payloads, telemetry
from mesh.bus.contract import Bus
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.debug import SocketInfo
from mesh.errors import CloseCode, PhaseError
from mesh.link import commands
from mesh.link.malformed import Malformed
from mesh.messages import DISCONNECT, JSON
from mesh.mount import Mount
from mesh.settings import GatewaySettings, LimitSettings
from mesh.telemetry import counters, get_logger, stats

log = get_logger("gateway.hub")


class Hub:
    """All clients of a gateway.

    Args:
        gateway: this gateway's id.
        bus: where topics are subscribed.
        link: makes the links to the workers, where channels run; given whom they tell.
        settings: of the gateway.
        hold_seconds: how long a command may wait for the broadcast before it.
        tell_gateways: tells the other gateways of a topic whose joins end workers.
        limits: of the rates of sockets.

    Attributes:
        clients: all of them.
        links: to the workers.
        fanout: delivers broadcasts, and counts what becomes of them.
        socket_ids: the clients by id.
        read_pauses: which of them are not read from, and why.
        join_guard: of joins that end workers.
        on_broadcast: takes (topic, header, payload) of a broadcast from the bus.
        on_command: takes (worker, command) from a link.
    """

    def __init__(
        self,
        gateway: str,
        bus: Bus,
        link: Callable[["Hub"], WorkerLinks],
        settings: GatewaySettings,
        hold_seconds: float,
        tell_gateways: Callable[[bytes], object],
        limits: LimitSettings | None = None,
    ) -> None:
        self.clients: dict[Client, None] = {}
        self.fanout = Fanout(gateway)
        self.socket_ids = SocketIds(bus)
        self.read_pauses = ReadPauses()
        self._gateway = gateway
        self.join_guard = JoinGuard(self, settings.max_topic_rest_seconds, tell_gateways)
        self._settings = settings
        self._limits = limits or LimitSettings()
        self._numbers = count(1)
        self._channels: dict[int, GatewayChannel] = {}
        self._topics = SubscribedTopics(bus)
        self._lost = LostWorkers(self._channels, self._channel_lost)
        received = self._commands_received
        self._ordering = Ordering(gateway, self, self.fanout, self._channels, bus, received, hold_seconds)
        self.on_broadcast = self._ordering.on_broadcast
        self.on_command = self._ordering.on_command
        self.links = link(self)
        self._publisher_pauses = PublisherPauses(self.links.tell_all, settings)
        self._subscribing = SubscribingJoins(
            bus, settings.bus_wait_seconds, settings.max_joins_waiting,
            self._subscribed, self.on_unplaceable,
        )  # fmt: skip

    def close(self) -> None:
        """Stop what goes on by itself; the links are closed and the clients are gone."""
        self.join_guard.close()
        self._topics.close()

    # Clients

    def connect(
        self, mount: Mount, id: str | None, assigns: bytes, encoding: Encoding, transport: Transport,
        outbox: OutboxContract,
    ) -> Client:  # fmt: skip
        """Take in a client, of whom this is known."""
        client = Client(
            mount, id, assigns, encoding, transport, outbox,
            self._numbers.__next__, self._settings, self._limits,
        )  # fmt: skip
        self.clients[client] = None
        stats.connections += 1
        self.socket_ids.add(client)
        return client

    def counts(self) -> tuple[dict[str, float], int, int]:
        """(clients by transport, channels, topics)."""
        clients: dict[str, float] = {"websocket": 0, "longpoll": 0, "zeromq": 0}
        for client in self.clients:
            clients[client.transport.name] = clients.get(client.transport.name, 0) + 1
        return clients, len(self._channels), len(self.fanout)

    def unsent_bytes(self) -> int:
        """What waits for all clients together."""
        return sum(client.outbox.unsent_bytes for client in self.clients)

    def received(self, client: Client, data: bytes, binary: bool) -> None:
        """A message of a client."""
        stats.messages_in += 1
        self._carry_out(client, client.session.received(data, binary))

    def disconnected(self, client: Client, reason: str) -> None:
        """A client is gone; its channels end with this reason."""
        if self.clients.pop(client, self) is self:
            return
        self.socket_ids.remove(client)
        self.read_pauses.forget(client)
        self._publisher_pauses.forget(client)
        if telemetry.attached("socket_disconnected"):
            metadata = {"transport": client.transport.name, "socket_id": client.id, "reason": reason}
            telemetry.emit("socket_disconnected", {}, metadata)
        by_worker: dict[str, list[int]] = {}
        for channel in client.session.close():
            if channel.worker is not None:
                by_worker.setdefault(channel.worker, []).append(channel.number)
            self._drop(channel, CLIENT_GONE)
        client.transport = GONE  # no circle is left: its memory is free without a garbage collection
        for worker, numbers in by_worker.items():
            self.links.send(worker, commands.SocketDown(numbers, reason))

    def sockets(self) -> list[SocketInfo]:
        """Every client there is, with its channels."""
        return [client.info() for client in self.clients]

    # The bus

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """To this gateway's clients only. Raises PayloadError for what is neither an object nor bytes."""
        codec, data = payloads.encode_object(payload)
        self.deliver(topic, Header(VERSION, BROADCAST, self._gateway, 0, event, codec), data)

    def deliver(self, topic: str, header: Header, data: bytes) -> None:
        """A broadcast goes to the topic's members; "disconnect" on an id ends its clients."""
        self.fanout.deliver(topic, header, data)
        if header.event == DISCONNECT:
            for client in self.socket_ids.clients(topic):
                client.transport.close(CloseCode.GOING_AWAY, "disconnected")
                self.disconnected(client, "disconnected")

    # The workers

    def deliver_local(self, worker: str, broadcast: commands.Broadcast) -> None:
        """A broadcast from a link goes to the members that the worker runs."""
        self.fanout.deliver_local(worker, broadcast)

    def carry(self, channel: GatewayChannel, command: Any) -> None:
        """A command for a channel, in its turn. A failure ends that channel (mesh/link/dealer.py)."""
        client = channel.client
        self._carry_out(client, COMMANDS[type(command)](client.session, channel, command))

    def _commands_received(self, worker: str) -> int:
        return self.links.received(worker)

    def on_behind(self, worker: str, much: bool) -> None:
        """Much waits for a worker: who has a channel there is not read from until that is no longer so."""
        if not much:
            self.read_pauses.resume_all(("link", worker))
            return
        log.warning("worker is behind: its clients are not read from", worker=worker)
        for client in {each.client for each in self._channels.values() if each.worker == worker}:
            self.read_pauses.pause(client, ("link", worker))

    def on_linked(self, worker: str) -> None:
        """A worker's link is up: it hears which topics are paused."""
        for topic in self._publisher_pauses:
            self.links.tell(worker, commands.TopicPaused(topic))

    def on_malformed(self, worker: str, command: Malformed) -> None:
        """A command that cannot be read: the channels that it names end, in the worker too."""
        if command.topic is not None:
            named = self.fanout.channels(command.topic)
        else:
            named = [self._channels[number] for number in command.channels if number in self._channels]
        for channel in named:
            if channel.worker == worker:
                self.links.send(worker, commands.SocketDown([channel.number], "malformed command"))
                self._advance(channel, Event.CRASHED)

    def on_lost(self, worker: str, died: bool) -> None:
        """A worker is gone."""
        self.read_pauses.resume_all(("link", worker))
        self._ordering.worker_lost(worker)
        self._lost.add(worker, died)

    def _channel_lost(self, channel: GatewayChannel, died: bool) -> None:
        if channel.pending is not None:
            self._ordering.channel_lost(channel)
        under_way = channel.phase is Phase.JOINING or channel.phase is Phase.RESUMING
        if died and under_way and self.join_guard.died(channel.client.mount, channel):
            self._advance(channel, Event.TOPIC_REFUSED)
        else:
            self._advance(channel, Event.WORKER_LOST)

    # Joins on their way to a worker

    def _subscribed(self, channel: GatewayChannel) -> None:
        self._advance(channel, Event.SUBSCRIBED)

    def on_placeable(self, channel: GatewayChannel) -> None:
        """There may be a worker for a channel that waits for one."""
        if channel.phase is not Phase.PLACING and channel.phase is not Phase.MOVING:
            return
        client = channel.client
        if self.join_guard.holds(client.mount, channel):
            self.links.forget(channel)  # it waits for its turn, no longer for a worker
            return
        key = client.id or f"{id(client):x}"
        worker = self.links.place(client.mount, channel, key)
        if worker is None:
            self.join_guard.forget(channel)  # its turn comes when there is one
            return
        channel.placed(worker)
        self.links.send(worker, client.join(channel))
        if self.links.behind(worker):
            self.read_pauses.pause(client, ("link", worker))

    def on_unplaceable(self, channel: GatewayChannel) -> None:
        """Neither bus nor worker has come in time for it."""
        if channel.phase is not Phase.ENDED:
            self._advance(channel, Event.UNAVAILABLE, JSON, UNAVAILABLE)

    def on_topic_refused(self, channel: GatewayChannel) -> None:
        """Joins of its topic end workers."""
        if channel.phase is not Phase.ENDED:
            self._advance(channel, Event.TOPIC_REFUSED)

    # Actions

    def _advance(self, channel: GatewayChannel, event: Event, *answer: Any) -> None:
        """Something has happened to a channel: its session decides, and that is carried out."""
        session = channel.client.session
        try:
            actions = session.advance(channel, event, *answer)
        except PhaseError as error:
            counters.count("handlers_failed")
            log.error("a channel crashes by a defect", topic=channel.topic, problem=str(error))
            actions = session.advance(channel, Event.CRASHED) if channel.phase is not Phase.ENDED else []
        self._carry_out(channel.client, actions)

    def _carry_out(self, client: Client, actions: list[Action]) -> None:
        for action in actions:
            _ACTIONS[type(action)](self, client, action)

    def _send(self, client: Client, action: Send) -> None:
        client.outbox.send(client.encoding.ready(action.frame))

    def _forward(self, client: Client, action: Forward) -> None:
        worker = action.channel.worker
        if worker is not None:
            self.links.send(worker, action.command)

    def _subscribe_then_join(self, client: Client, action: SubscribeThenJoin) -> None:
        """Subscribe first, then join: what the channel broadcasts from its first moment on arrives."""
        channel = action.channel
        self._channels[channel.number] = channel
        if self.fanout.hold(channel):
            self._topics.subscribe(channel.topic)
        self._subscribing.wait(channel)

    def _place(self, client: Client, action: PlaceOnWorker) -> None:
        self.read_pauses.resume(client, ("channel", action.channel.number))  # it was the old worker's wish
        self.on_placeable(action.channel)

    def _deliver(self, client: Client, action: Deliver) -> None:
        channel = action.channel
        self.join_guard.answered(client.mount, channel)
        self._publisher_pauses.joined(client, channel)
        self._ordering.joined(channel)

    def _drop(self, channel: GatewayChannel, reason: str | None = None) -> None:
        if self._channels.pop(channel.number, None) is None:
            return
        self.links.forget(channel)
        self.join_guard.forget(channel)
        self._subscribing.forget(channel)
        self._publisher_pauses.dropped(channel)
        self.read_pauses.resume(channel.client, ("channel", channel.number))
        if self.fanout.drop(channel, reason):
            self._topics.unsubscribe(channel.topic)

    def _close(self, client: Client, action: Close) -> None:
        log.info("connection closed", code=int(action.code), reason=action.reason, socket_id=client.id)
        client.transport.close(action.code, action.reason)
        self.disconnected(client, "closed")


def _reason(channel: GatewayChannel | None) -> Reason:
    return JOIN if channel is None else ("channel", channel.number)


_ACTIONS: dict[type[Any], Any] = {
    Send: Hub._send,
    Forward: Hub._forward,
    SubscribeThenJoin: Hub._subscribe_then_join,
    PlaceOnWorker: Hub._place,
    MarkDraining: lambda hub, _client, action: hub.links.mark_draining(action.worker),
    Deliver: Hub._deliver,
    Drop: lambda hub, _client, action: hub._drop(action.channel),
    Close: Hub._close,
    Pause: lambda hub, client, action: hub.read_pauses.pause(client, _reason(action.channel)),
    Resume: lambda hub, client, action: hub.read_pauses.resume(client, _reason(action.channel)),
}
