"""Carries out what sessions decide; connects the sessions with the fan-out, the links and the bus.

Transports call `connect`, `received` and `disconnected`; links and bus call the methods that begin with
`on_`. Each input goes to its session. Broadcasts and commands pass through gateway/ordering first.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from mesh import telemetry
from mesh.app.history import KeptTopics
from mesh.app.mount import Mount
from mesh.bus.contract import Bus
from mesh.bus.frames import BROADCAST, VERSION, Received
from mesh.debug import SocketInfo
from mesh.errors import CloseCode, PhaseError
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
from mesh.gateway.channels.answers import UNAVAILABLE
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import Event, Phase
from mesh.gateway.channels.worker_commands import COMMANDS
from mesh.gateway.client import Client
from mesh.gateway.fanout.delivery_stats import CLIENT_GONE
from mesh.gateway.fanout.fanout import Fanout
from mesh.gateway.fanout.recorded import RecordedBroadcasts, Recorders
from mesh.gateway.fanout.subscribed_topics import SubscribedTopics
from mesh.gateway.flow.publisher_pauses import PublisherPauses
from mesh.gateway.flow.read_pauses import JOIN, ReadPauses, Reason
from mesh.gateway.flow.workers_behind import WorkersBehind
from mesh.gateway.joins.join_guard import JoinGuard
from mesh.gateway.joins.lost_workers import LostWorkers
from mesh.gateway.joins.pending import SubscribingJoins
from mesh.gateway.joins.worker_links import WorkerLinks
from mesh.gateway.ordering.ordering import Ordering
from mesh.gateway.socket_ids import SocketIds
from mesh.gateway.transports.base import GONE, Encoding, OutboxContract, Transport
from mesh.link import commands
from mesh.link.malformed import Malformed
from mesh.protocol import payloads
from mesh.protocol.messages import DISCONNECT, JSON
from mesh.settings import GatewaySettings, LimitSettings
from mesh.telemetry import counters, get_logger, stats

log = get_logger(__name__)


class Hub:
    """All clients of a gateway.

    Args:
        gateway: this gateway's id.
        bus: the bus on which topics are subscribed.
        link: makes the links to the workers; called with this hub, which handles their events.
        settings: the settings of the gateway.
        hold_seconds: how long a command may wait for the broadcast before it.
        notify_gateways: notifies the other gateways of a topic whose joins crash workers.
        limits: the rate limits of sockets.
        kept: which topics of the application have a history.

    Attributes:
        clients: all clients; the values are not used.
        links: the links to the workers.
        fanout: delivers broadcasts and counts their outcomes.
        socket_ids: the clients by id.
        read_pauses: the clients that are not being read, and why.
        join_guard: delays and refuses joins that may crash workers.
        recorders: the workers that have announced that they record topics.
        on_broadcast: handles (topic, header, payload) of a broadcast from the bus.
        on_recorded: handles (topic, header, payload) of a recorded broadcast from the bus.
        admits: returns whether a recorded broadcast with (topic, header) is to be delivered.
        on_command: handles (worker, command) from a link.
        on_behind: handles (worker, whether it is behind) from a link, when that changes.
        on_linked: handles the worker of a link that is up.
    """

    def __init__(
        self,
        gateway: str,
        bus: Bus,
        link: Callable[["Hub"], WorkerLinks],
        settings: GatewaySettings,
        hold_seconds: float,
        notify_gateways: Callable[[bytes], object],
        limits: LimitSettings | None = None,
        kept: KeptTopics | None = None,
    ) -> None:
        self.clients: dict[Client, None] = {}
        self.fanout = Fanout(gateway)
        self.socket_ids = SocketIds(bus)
        self.read_pauses = ReadPauses()
        self._gateway = gateway
        self.join_guard = JoinGuard(self, settings.max_topic_refusal_seconds, notify_gateways)
        self._settings = settings
        self._limits = limits or LimitSettings()
        self._numbers = count(1)
        self._channels: dict[int, GatewayChannel] = {}
        self._topics = SubscribedTopics(bus)
        self._lost = LostWorkers(self._channels, self._channel_lost)
        self.recorders, missed = Recorders(), partial(self._crash, reason="history missed")
        self.admits = RecordedBroadcasts(self.fanout, self.recorders, missed).admits
        self._ordering = Ordering(
            gateway, self, self.fanout, self._channels, bus, lambda worker: self.links.received(worker),
            hold_seconds, kept.keeps if kept else None,
        )  # fmt: skip
        self.on_broadcast = self._ordering.on_broadcast
        self.on_recorded = self._ordering.on_recorded
        self.on_command = self._ordering.on_command
        self._workers_behind = WorkersBehind(self._channels, self.read_pauses)
        self.on_behind = self._workers_behind.changed
        self.links = link(self)
        self._publisher_pauses = PublisherPauses(self.links, settings)
        self.on_linked = self._publisher_pauses.linked
        wait, limit = settings.bus_wait_seconds, settings.max_joins_waiting
        subscribed = partial(self._advance, event=Event.SUBSCRIBED)
        self._subscribing = SubscribingJoins(bus, wait, limit, subscribed, self.on_unplaceable)

    def close(self) -> None:
        """Stop the timers; the links must be closed and the clients gone."""
        self.join_guard.close()
        self._topics.close()

    # Clients

    def connect(
        self, mount: Mount, id: str | None, assigns: bytes, encoding: Encoding, transport: Transport,
        outbox: OutboxContract,
    ) -> Client:  # fmt: skip
        """Add an admitted client, and return it."""
        client = Client(
            mount, id, assigns, encoding, transport, outbox,
            self._numbers.__next__, self._settings, self._limits,
        )  # fmt: skip
        self.clients[client] = None
        stats.connections += 1
        self.socket_ids.add(client)
        return client

    def counts(self) -> tuple[dict[str, float], int, int]:
        """Return (clients by transport, number of channels, number of topics)."""
        clients: dict[str, float] = {"websocket": 0, "longpoll": 0, "zeromq": 0}
        for client in self.clients:
            clients[client.transport.name] = clients.get(client.transport.name, 0) + 1
        return clients, len(self._channels), len(self.fanout)

    def unsent_bytes(self) -> int:
        """Return the bytes that wait for all clients together."""
        return sum(client.outbox.unsent_bytes for client in self.clients)

    def received(self, client: Client, data: bytes, binary: bool) -> None:
        """Handle a message of a client."""
        stats.messages_in += 1
        self._carry_out(client, client.session.received(data, binary))

    def disconnected(self, client: Client, reason: str) -> None:
        """Remove a client that is gone; its channels end with this reason."""
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
        client.transport = GONE  # breaks the reference cycle, so its memory is freed without a collection
        for worker, numbers in by_worker.items():
            self.links.send(worker, commands.SocketDown(numbers, reason))

    def sockets(self) -> list[SocketInfo]:
        """Return every client, with its channels."""
        return [client.info() for client in self.clients]

    # The bus

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Broadcast to this gateway's clients only.

        Raises:
            PayloadError: if the payload is neither an object nor bytes.
        """
        codec, data = payloads.encode_object(payload)
        self.deliver(topic, Received(VERSION, BROADCAST, self._gateway, 0, event, codec), data)

    def deliver(self, topic: str, header: Received, data: bytes) -> None:
        """Deliver a broadcast to the topic's members; `disconnect` to a socket id closes its clients."""
        self.fanout.deliver(topic, header, data)
        if header.event == DISCONNECT:
            for client in self.socket_ids.clients(topic):
                client.transport.close(CloseCode.GOING_AWAY, "disconnected")
                self.disconnected(client, "disconnected")

    # The workers

    def carry(self, channel: GatewayChannel, command: Any) -> None:
        """Carry out a command for a channel; `Ordering` calls it in the right order."""
        client = channel.client
        self._carry_out(client, COMMANDS[type(command)](client.session, channel, command))

    def on_malformed(self, worker: str, command: Malformed) -> None:
        """End the channels that a malformed command names, in the worker as well."""
        if command.topic is not None:
            named = self.fanout.channels(command.topic)
        else:
            named = [self._channels[number] for number in command.channels if number in self._channels]
        for channel in named:
            if channel.worker == worker:
                self._crash(channel, "malformed command")

    def _crash(self, channel: GatewayChannel, reason: str) -> None:
        """End a channel with `phx_error`, in its worker as well."""
        if channel.worker is not None:
            self.links.send(channel.worker, commands.SocketDown([channel.number], reason))
        self._advance(channel, Event.CRASHED)

    def on_lost(self, worker: str, died: bool) -> None:
        """Handle the loss of a worker; `died` if it did not stop in order."""
        self._workers_behind.forget(worker)
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

    def on_placeable(self, channel: GatewayChannel) -> None:
        """Send a waiting channel's JOIN to a worker, if there is one and the join guard allows it."""
        if channel.phase is not Phase.PLACING and channel.phase is not Phase.MOVING:
            return
        client = channel.client
        if self.join_guard.holds(client.mount, channel):
            self.links.forget(channel)  # it now waits for its turn, not for a worker
            return
        worker = self.links.place(client.mount, channel, client.id or f"{id(client):x}")
        if worker is None:
            self.join_guard.forget(channel)  # it gets another turn when there is a worker
            return
        channel.placed(worker)
        self.links.send(worker, client.join(channel))
        self._workers_behind.placed(channel, worker)

    def on_unplaceable(self, channel: GatewayChannel) -> None:
        """Refuse a join for which the bus or a worker was not available in time."""
        if channel.phase is not Phase.ENDED:
            self._advance(channel, Event.UNAVAILABLE, JSON, UNAVAILABLE)

    def on_topic_refused(self, channel: GatewayChannel) -> None:
        """Refuse a join whose topic has crashed workers."""
        if channel.phase is not Phase.ENDED:
            self._advance(channel, Event.TOPIC_REFUSED)

    # Actions

    def _advance(self, channel: GatewayChannel, event: Event, *answer: Any) -> None:
        """Pass an event of a channel to its session, and carry out the resulting actions."""
        session = channel.client.session
        try:
            actions = session.advance(channel, event, *answer)
        except PhaseError as error:
            counters.count("handlers_failed")
            log.error("channel ended by a defect of the gateway", topic=channel.topic, problem=str(error))
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
        """Subscribe before the JOIN is sent, so that no broadcast of the channel is missed."""
        channel = action.channel
        self._channels[channel.number] = channel
        if self.fanout.hold(channel):
            self._topics.subscribe(channel.topic)
        self._subscribing.wait(channel)

    def _place(self, client: Client, action: PlaceOnWorker) -> None:
        self.read_pauses.resume(client, ("channel", action.channel.number))  # requested by its old worker
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
            self._ordering.topic_left(channel.topic)

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
