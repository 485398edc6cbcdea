"""Carries out what sessions decide: the only file that holds session, fanout, workers and bus together.

Between a worker's command and its session stands the order guarantee (docs/protocol.md §3): a command that
must follow a broadcast waits until that broadcast has passed, a bounded time at most.
"""

import time
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
from gateway.channels.session import Session
from gateway.channels.worker_commands import COMMANDS
from gateway.client import Client
from gateway.fanout.delivery_stats import CLIENT_GONE
from gateway.fanout.fanout import Fanout
from gateway.fanout.subscribed_topics import SubscribedTopics
from gateway.flow.publisher_pauses import PublisherPauses
from gateway.flow.rate_limits import socket_limits
from gateway.flow.read_pauses import JOIN, ReadPauses, Reason
from gateway.joins.join_guard import JoinGuard
from gateway.joins.lost_workers import LostWorkers
from gateway.joins.pending import SubscribingJoins
from gateway.joins.worker_links import WorkerLinks
from gateway.ordering.broadcasts_after_commands import BroadcastsAfterCommands
from gateway.ordering.commands_after_broadcasts import CommandsAfterBroadcasts
from gateway.socket_ids import SocketIds
from gateway.transports.base import GONE
from mesh import payloads, telemetry
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.debug import SocketInfo
from mesh.errors import CloseCode, PhaseError
from mesh.link import commands
from mesh.link.malformed import Malformed
from mesh.messages import DISCONNECT, JSON
from mesh.mount import Mount
from mesh.pubsub import BusAdapter
from mesh.settings import GatewaySettings, LimitSettings
from mesh.telemetry import counters, get_logger, stats

log = get_logger("gateway.hub")


class Hub:
    """All clients of a gateway.

    Args:
        gateway: this gateway's id.
        bus: where topics are subscribed.
        workers: where channels run.
        settings: of the gateway.
        hold_seconds: how long a command may wait for the broadcast before it.
        guard: of joins that end workers.

    Attributes:
        clients: all of them.
        fanout: delivers broadcasts, and counts what becomes of them.
        socket_ids: the clients by id.
        read_pauses: which of them are not read from, and why.
        topics: what is heard of them on the bus.
    """

    def __init__(
        self,
        gateway: str,
        bus: BusAdapter,
        workers: WorkerLinks,
        settings: GatewaySettings,
        hold_seconds: float,
        limits: LimitSettings | None = None,
        guard: JoinGuard | None = None,
    ) -> None:
        self.clients: dict[Client, None] = {}
        self.fanout = Fanout(gateway)
        self.socket_ids = SocketIds(bus)
        self.read_pauses = ReadPauses()
        self._gateway = gateway
        self.topics = SubscribedTopics(bus)
        self._workers = workers
        self._settings = settings
        self._limits = limits or LimitSettings()
        self._numbers = count(1)
        self._channels: dict[int, GatewayChannel] = {}
        self._lost = LostWorkers(self._channels, self._channel_lost)
        self._slow = PublisherPauses(workers.tell_all, settings)
        self._order = CommandsAfterBroadcasts(
            self._in_order, hold_seconds, bus.delivered, lambda: bus.unread
        )
        self._broadcasts = BroadcastsAfterCommands(self.fanout, self._channels, workers.received)
        self._subscribing = SubscribingJoins(
            bus, settings.bus_wait_seconds, settings.max_joins_waiting, self._subscribed, self._unplaceable
        )
        self._guard = guard or JoinGuard(settings.max_topic_rest_seconds)
        self._guard.on_placeable = self._place
        self._guard.on_refused = self._topic_refused
        workers.on_command = self._command
        workers.on_malformed = self._malformed
        workers.on_linked = self._worker_linked
        workers.on_lost = self._worker_lost
        workers.on_behind = self._worker_behind
        workers.on_placeable = self._place
        workers.on_unplaceable = self._unplaceable

    # Clients

    def connect(self, client: Client, mount: Mount) -> None:
        """Take in a client."""
        settings, limits = self._settings, socket_limits(self._limits, mount.routes, time.monotonic)
        client.session = Session(
            client.encoding.serializer, mount.routes, client, self._numbers.__next__,
            settings.max_channels_per_socket, settings.max_pending_bytes, limits,
        )  # fmt: skip
        self.clients[client] = None
        stats.connections += 1
        self.socket_ids.add(client)

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
        self._slow.forget(client)
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
            self._workers.send(worker, commands.SocketDown(numbers, reason))

    def sockets(self) -> list[SocketInfo]:
        """Every client there is, with its channels."""
        return [client.info() for client in self.clients]

    # The bus

    def on_broadcast(self, topic: str, header: Header, data: bytes) -> None:
        """A broadcast from the bus."""
        sender = header.sender
        if sender is not None and sender.gateway == self._gateway and not sender.skip:
            self._broadcasts.keep(header.origin, sender)
        self._deliver(topic, header, data)
        if self._workers.linked(header.origin):
            self._order.passed(header.origin, topic, header.sequence)

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """To this gateway's clients only. Raises PayloadError for what is neither an object nor bytes."""
        codec, data = payloads.encode_object(payload)
        self._deliver(topic, Header(VERSION, BROADCAST, self._gateway, 0, event, codec), data)

    def _deliver(self, topic: str, header: Header, data: bytes) -> None:
        self.fanout.deliver(topic, header, data)
        if header.event == DISCONNECT:
            for client in self.socket_ids.clients(topic):
                client.transport.close(CloseCode.GOING_AWAY, "disconnected")
                self.disconnected(client, "disconnected")

    # The workers

    def _command(self, worker: str, command: Any) -> None:
        if worker in self._broadcasts.waiting:
            # What the channel broadcast before it sent this command goes out before it.
            self._broadcasts.catch_up(worker, self._workers.received(worker) - 1)
        handler = COMMANDS[type(command)]
        if handler is None:
            if type(command) is commands.Broadcast:
                self._order.follow(worker, command.topic, command.after, command)
            return
        channel = self._channels.get(command.channel)
        if channel is None or channel.worker != worker:
            return  # ended here already
        after = getattr(command, "after", 0)
        if after > channel.since:
            self._order.follow(worker, channel.topic, after, command)
        else:
            self._feed(channel, handler, command)
        if worker in self._broadcasts.waiting:
            self._broadcasts.catch_up(worker, self._workers.received(worker))

    def _in_order(self, worker: str, command: Any) -> None:
        """A command that had to follow a broadcast."""
        if type(command) is commands.Broadcast:
            self.fanout.deliver_local(worker, command)
            return
        channel = self._channels.get(command.channel)
        handler = COMMANDS[type(command)]
        if handler is not None and channel is not None and channel.worker == worker:
            self._feed(channel, handler, command)

    def _worker_behind(self, worker: str, much: bool) -> None:
        """Much waits for a worker: who has a channel there is not read from until that is no longer so."""
        if not much:
            self.read_pauses.resume_all(("link", worker))
            return
        log.warning("worker is behind: its clients are not read from", worker=worker)
        for client in {each.client for each in self._channels.values() if each.worker == worker}:
            self.read_pauses.pause(client, ("link", worker))

    def _worker_linked(self, worker: str) -> None:
        for topic in self._slow:
            self._workers.tell(worker, commands.TopicPaused(topic))

    def _malformed(self, worker: str, command: Malformed) -> None:
        """A command that cannot be read: the channels that it names end, in the worker too."""
        for channel in self._named(command, worker):
            self._workers.send(worker, commands.SocketDown([channel.number], "malformed command"))
            self._advance(channel, Event.CRASHED)

    def _named(self, command: Malformed, worker: str) -> list[GatewayChannel]:
        if command.topic is not None:
            found = self.fanout.channels(command.topic)
        else:
            found = [self._channels[number] for number in command.channels if number in self._channels]
        return [each for each in found if each.worker == worker]

    def _worker_lost(self, worker: str, died: bool = False) -> None:
        self.read_pauses.resume_all(("link", worker))
        self._order.forget(worker)
        self._broadcasts.forget(worker)
        self._lost.add(worker, died)

    def _channel_lost(self, channel: GatewayChannel, died: bool) -> None:
        if channel.pending is not None:
            self.fanout.forget_order(channel)
        under_way = channel.phase is Phase.JOINING or channel.phase is Phase.RESUMING
        if died and under_way and self._guard.died(channel.client.mount, channel):
            self._advance(channel, Event.TOPIC_REFUSED)
        else:
            self._advance(channel, Event.WORKER_LOST)

    def _subscribed(self, channel: GatewayChannel) -> None:
        self._advance(channel, Event.SUBSCRIBED)

    def _unplaceable(self, channel: GatewayChannel) -> None:
        if channel.phase is not Phase.ENDED:
            self._advance(channel, Event.UNAVAILABLE, JSON, UNAVAILABLE)

    def _topic_refused(self, channel: GatewayChannel) -> None:
        if channel.phase is not Phase.ENDED:
            self._advance(channel, Event.TOPIC_REFUSED)

    # Actions

    def _advance(self, channel: GatewayChannel, event: Event, *answer: Any) -> None:
        self._feed(channel, Session.advance, event, *answer)

    def _feed(self, channel: GatewayChannel, handler: Callable[..., list[Action]], *what: Any) -> None:
        """Something happens to a channel: its session decides, and that is carried out."""
        client = channel.client
        try:
            actions = handler(client.session, channel, *what)
        except PhaseError as error:
            counters.count("channels_crashed")
            log.error("a channel crashes by a defect", topic=channel.topic, problem=str(error))
            if channel.phase is Phase.ENDED:
                return
            actions = client.session.advance(channel, Event.CRASHED)
        self._carry_out(client, actions)

    def _carry_out(self, client: Client, actions: list[Action]) -> None:
        for action in actions:
            _ACTIONS[type(action)](self, client, action)

    def _send(self, client: Client, action: Send) -> None:
        client.outbox.send(client.encoding.ready(action.frame))

    def _forward(self, client: Client, action: Forward) -> None:
        worker = action.channel.worker
        if worker is not None:
            self._workers.send(worker, action.command)

    def _start(self, client: Client, action: SubscribeThenJoin) -> None:
        """Subscribe first, then join: what the channel broadcasts from its first moment on arrives."""
        channel = action.channel
        self._channels[channel.number] = channel
        if self.fanout.hold(channel):
            self.topics.hear(channel.topic)
        self._subscribing.wait(channel)

    def _place_action(self, client: Client, action: PlaceOnWorker) -> None:
        self.read_pauses.resume(client, ("channel", action.channel.number))  # it was the old worker's wish
        self._place(action.channel)

    def _place(self, channel: GatewayChannel) -> None:
        client = channel.client
        if channel.phase is not Phase.PLACING and channel.phase is not Phase.MOVING:
            return
        if self._guard.holds(client.mount, channel):
            self._workers.forget(channel)  # it waits for its turn, no longer for a worker
            return
        key = client.id or f"{id(client):x}"
        worker = self._workers.place(client.mount, channel, key)
        if worker is None:
            self._guard.forget(channel)  # its turn comes when there is one
            return
        channel.placed(worker)
        self._workers.send(worker, client.join(channel))
        if self._workers.behind(worker):
            self.read_pauses.pause(client, ("link", worker))

    def _activate(self, client: Client, action: Deliver) -> None:
        channel = action.channel
        self._guard.answered(client.mount, channel)
        self.fanout.hold(channel)  # if it moved: it may intercept other events there
        self._slow.activated(client, channel)
        self.fanout.release(channel, self._workers.received(channel.worker or ""))

    def _drop(self, channel: GatewayChannel, reason: str | None = None) -> None:
        if self._channels.pop(channel.number, None) is None:
            return
        self._workers.forget(channel)
        self._guard.forget(channel)
        self._subscribing.forget(channel)
        self._slow.dropped(channel)
        self.read_pauses.resume(channel.client, ("channel", channel.number))
        if self.fanout.drop(channel, reason):
            self.topics.give_up(channel.topic)

    def _close(self, client: Client, action: Close) -> None:
        log.info("connection closed", code=int(action.code), reason=action.reason, socket_id=client.id)
        client.transport.close(action.code, action.reason)
        self.disconnected(client, "closed")


def _reason(channel: GatewayChannel | None) -> Reason:
    return JOIN if channel is None else ("channel", channel.number)


_ACTIONS: dict[type[Any], Any] = {
    Send: Hub._send,
    Forward: Hub._forward,
    SubscribeThenJoin: Hub._start,
    PlaceOnWorker: Hub._place_action,
    MarkDraining: lambda hub, _client, action: hub._workers.drains(action.worker),
    Deliver: Hub._activate,
    Drop: lambda hub, _client, action: hub._drop(action.channel),
    Close: Hub._close,
    Pause: lambda hub, client, action: hub.read_pauses.pause(client, _reason(action.channel)),
    Resume: lambda hub, client, action: hub.read_pauses.resume(client, _reason(action.channel)),
}
