"""Carries out what sessions decide: the only file that holds session, fanout, workers and bus together.

Between a worker's command and its session stands the order guarantee (docs/protocol.md §3): a command that
must follow a broadcast waits until that broadcast has passed, a bounded time at most.
"""

import asyncio
import heapq
import time
from itertools import count
from typing import Any

from gateway.actions import Action, Activate, Close, Drop, Forward, Pause, Resume, Send, Start
from gateway.channel_state import ChannelState
from gateway.fanout import Fanout
from gateway.limits import socket_limits
from gateway.order import Order
from gateway.session import Session
from gateway.transports.base import Encoding, Transport
from gateway.workers import Workers
from mesh import payloads, telemetry, topics
from mesh.bus.barrier import subscribed
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.debug import SocketInfo
from mesh.errors import CloseCode
from mesh.link import commands
from mesh.messages import DISCONNECT, Sender
from mesh.mount import Mount
from mesh.pubsub import BusAdapter
from mesh.settings import GatewaySettings, LimitSettings
from mesh.telemetry import get_logger, stats

log = get_logger("gateway.hub")

ID_WAIT_SECONDS = 2.0


class Client:
    """One connected, authenticated client.

    Attributes:
        mount: path of its socket mount.
        id: what its handler's `id` returned.
        assigns: its handler's assigns, msgpack.
        outbox: takes what `encoding.ready` makes.
    """

    __slots__ = ("assigns", "encoding", "id", "mount", "outbox", "session", "transport")

    def __init__(
        self,
        mount: str,
        id: str | None,
        assigns: bytes,
        encoding: Encoding,
        transport: Transport,
        outbox: Any,
    ) -> None:
        self.mount = mount
        self.id = id
        self.assigns = assigns
        self.encoding = encoding
        self.transport = transport
        self.outbox = outbox
        self.session: Session


class Hub:
    """All clients of a gateway.

    Args:
        gateway: this gateway's id.
        bus: where topics are subscribed.
        workers: where channels run.
        settings: of the gateway.
        hold_seconds: how long a command may wait for the broadcast before it.
    """

    def __init__(
        self,
        gateway: str,
        bus: BusAdapter,
        workers: Workers,
        settings: GatewaySettings,
        hold_seconds: float,
        limits: LimitSettings | None = None,
    ) -> None:
        self.clients: dict[Client, None] = {}
        self._bus = bus
        self._workers = workers
        self._settings = settings
        self._gateway = gateway
        self._fanout = Fanout(gateway)
        self._limits = limits or LimitSettings()
        self._now = time.monotonic
        self._behind: dict[str, list[tuple[int, int]]] = {}
        self._numbers = count(1)
        self._channels: dict[int, ChannelState] = {}
        self._ids: dict[str, dict[Client, None]] = {}
        self._order = Order(self._carry_out_command, hold_seconds, bus.delivered)
        workers.on_command = self._command
        workers.on_lost = self._worker_lost
        workers.on_placeable = self._place
        workers.on_unplaceable = self._unplaceable

    # Clients

    def connect(self, client: Client, mount: Mount) -> None:
        """Take in a client."""
        client.session = Session(
            client.encoding.serializer,
            mount.routes,
            client,
            self._numbers.__next__,
            self._settings.max_channels_per_socket,
            self._settings.max_pending_bytes,
            socket_limits(self._limits, mount.routes, self._now),
        )
        self.clients[client] = None
        stats.connections += 1
        if client.id is not None:
            self._ids.setdefault(client.id, {})[client] = None

    def counts(self) -> tuple[dict[str, float], int, int]:
        """(clients by transport, channels, topics)."""
        clients: dict[str, float] = {"websocket": 0, "longpoll": 0, "zeromq": 0}
        for client in self.clients:
            clients[client.transport.name] = clients.get(client.transport.name, 0) + 1
        return clients, len(self._channels), len(self._fanout)

    def topics(self) -> list[str]:
        """The topics that have a member here, or somebody who is joining."""
        return list(self._fanout)

    def members(self, topic: str) -> int:
        """The channels here that are joined to a topic."""
        return self._fanout.members(topic)

    def unsent_bytes(self) -> int:
        """What waits for all clients together."""
        return sum(client.outbox.unsent_bytes for client in self.clients)

    async def subscribe_id(self, socket_id: str) -> None:
        """Before a client with this id is taken in: no `disconnect` for it is missed after this.

        Returns as well when the bus does not answer in time: better to let the client in.
        """
        self._bus.subscribe(topics.exact(socket_id))
        try:
            async with asyncio.timeout(ID_WAIT_SECONDS):
                await subscribed(self._bus)
        except TimeoutError:
            log.warning("id topic not subscribed in time", socket_id=socket_id)

    def unsubscribe_id(self, socket_id: str) -> None:
        """Undo one `subscribe_id`."""
        self._bus.unsubscribe(topics.exact(socket_id))

    def received(self, client: Client, data: bytes, binary: bool) -> None:
        """A message of a client."""
        stats.messages_in += 1
        self._carry_out(client, client.session.received(data, binary))

    def disconnected(self, client: Client, reason: str) -> None:
        """A client is gone; its channels end with this reason."""
        if self.clients.pop(client, self) is self:
            return
        if client.id is not None:
            self._forget_id(client.id, client)
        if telemetry.attached("socket_disconnected"):
            metadata = {"transport": client.transport.name, "socket_id": client.id, "reason": reason}
            telemetry.emit("socket_disconnected", {}, metadata)
        by_worker: dict[str, list[int]] = {}
        for channel in list(client.session.channels.values()):
            old = channel.joining.replaces if channel.joining is not None else None
            for each in (channel, old) if old is not None else (channel,):
                if each.worker is not None:
                    by_worker.setdefault(each.worker, []).append(each.number)
                self._drop(each)
        client.session.channels.clear()
        for worker, numbers in by_worker.items():
            self._workers.send(worker, commands.SocketDown(numbers, reason))

    def sockets(self) -> list[SocketInfo]:
        """Every client there is, with its channels."""
        return [
            SocketInfo(
                client.mount,
                client.id,
                client.transport.name,
                client.encoding.serializer.name,
                {
                    topic: "joined" if channel.joining is None else "joining"
                    for topic, channel in client.session.channels.items()
                },
            )
            for client in self.clients
        ]

    def _forget_id(self, socket_id: str, client: Client) -> None:
        same = self._ids[socket_id]
        del same[client]
        if not same:
            del self._ids[socket_id]
        self.unsubscribe_id(socket_id)

    # The bus

    def broadcast(self, topic: str, header: Header, data: bytes) -> None:
        """A broadcast from the bus."""
        sender = header.sender
        if sender is not None and sender.gateway == self._gateway and not sender.skip:
            self._keep_behind(header.origin, sender)
        self._deliver(topic, header, data)
        if self._workers.linked(header.origin):
            self._order.passed(header.origin, topic, header.sequence)

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """To this gateway's clients only. Raises PayloadError for what is neither an object nor bytes."""
        codec, data = payloads.encode_object(payload)
        self._deliver(topic, Header(VERSION, BROADCAST, self._gateway, 0, event, codec), data)

    def _deliver(self, topic: str, header: Header, data: bytes) -> None:
        self._fanout.deliver(topic, header, data)
        if header.event == DISCONNECT and topic in self._ids:
            for client in list(self._ids[topic]):
                client.transport.close(CloseCode.GOING_AWAY, "disconnected")
                self.disconnected(client, "disconnected")

    def _keep_behind(self, worker: str, sender: Sender) -> None:
        """A channel broadcasts what its own client must get after commands still on their way."""
        if sender.behind <= self._workers.received(worker):
            return
        channel = self._channels.get(sender.channel)
        if channel is not None and channel.worker == worker:
            self._fanout.hold(channel)
            entry = (sender.behind, channel.number)
            heapq.heappush(self._behind.setdefault(worker, []), entry)

    def _catch_up(self, worker: str, received: int) -> None:
        """So many commands have come: broadcasts that had to follow them go out."""
        waiting = self._behind[worker]
        while waiting and waiting[0][0] <= received:
            channel = self._channels.get(heapq.heappop(waiting)[1])
            if channel is not None and channel.joining is None:
                self._fanout.release(channel, received)
        if not waiting:
            del self._behind[worker]

    # The workers

    def _command(self, worker: str, command: commands.ToGateway) -> None:
        if isinstance(command, (commands.Welcome, commands.Ping, commands.Incompatible)):
            return
        if worker in self._behind:
            # What the channel broadcast before it sent this command goes out before it.
            self._catch_up(worker, self._workers.received(worker) - 1)
        if isinstance(command, commands.Broadcast):
            self._order.follow(worker, command.topic, command.after, command)
            return
        channel = self._channels.get(command.channel)
        if channel is None or channel.worker != worker:
            return  # ended here already
        after = getattr(command, "after", 0)
        if after > channel.since:
            self._order.follow(worker, channel.topic, after, command)
        else:
            self._carry_out_command(worker, command)
        if worker in self._behind:
            self._catch_up(worker, self._workers.received(worker))

    def _carry_out_command(self, worker: str, command: Any) -> None:
        if isinstance(command, commands.Broadcast):
            self._fanout.deliver_local(worker, command)
            return
        channel = self._channels.get(command.channel)
        if channel is None or channel.worker != worker:
            return
        session = channel.client.session
        handler = _COMMANDS[type(command)]
        self._carry_out(channel.client, handler(session, channel, command))

    def _worker_lost(self, worker: str) -> None:
        self._order.forget(worker)
        self._behind.pop(worker, None)
        for channel in [each for each in self._channels.values() if each.worker == worker]:
            if channel.joining is not None:
                self._fanout.forget_order(channel)
            self._carry_out(channel.client, channel.client.session.lost(channel))

    def _unplaceable(self, channel: ChannelState) -> None:
        if channel.number in self._channels:
            self._carry_out(channel.client, channel.client.session.unavailable(channel))

    # Actions

    def _carry_out(self, client: Client, actions: list[Action]) -> None:
        for action in actions:
            _ACTIONS[type(action)](self, client, action)

    def _send(self, client: Client, action: Send) -> None:
        client.outbox.send(client.encoding.ready(action.frame))

    def _forward(self, client: Client, action: Forward) -> None:
        worker = action.channel.worker
        if worker is not None:
            self._workers.send(worker, action.command)

    def _start(self, client: Client, action: Start) -> None:
        """Subscribe first, then join: what the channel broadcasts from its first moment on arrives."""
        channel = action.channel
        self._channels[channel.number] = channel
        if self._fanout.hold(channel):
            self._bus.subscribe(topics.exact(channel.topic))
        self._bus.when_subscribed(lambda: self._place(channel))

    def _place(self, channel: ChannelState) -> None:
        joining, client = channel.joining, channel.client
        if joining is None or channel.number not in self._channels or channel.worker is not None:
            return
        key = client.id or f"{id(client):x}"
        worker = self._workers.place(client.mount, channel, key)
        if worker is None:
            return
        channel.worker = worker
        join = joining.join
        command = commands.Join(
            channel.number,
            client.mount,
            channel.topic,
            channel.push_join_ref,
            client.id,
            client.transport.name,
            client.encoding.serializer.name,
            client.assigns,
            join.codec,
            join.data,
        )
        self._workers.send(worker, command)

    def _activate(self, client: Client, action: Activate) -> None:
        channel = action.channel
        self._fanout.release(channel, self._workers.received(channel.worker or ""))

    def _drop_action(self, client: Client, action: Drop) -> None:
        self._drop(action.channel)

    def _drop(self, channel: ChannelState) -> None:
        if self._channels.pop(channel.number, None) is None:
            return
        self._workers.forget(channel)
        if self._fanout.drop(channel):
            self._bus.unsubscribe(topics.exact(channel.topic))

    def _close(self, client: Client, action: Close) -> None:
        log.info("connection closed", code=int(action.code), reason=action.reason, socket_id=client.id)
        client.transport.close(action.code, action.reason)
        self.disconnected(client, "closed")

    def _pause(self, client: Client, action: Pause) -> None:
        client.transport.pause()

    def _resume(self, client: Client, action: Resume) -> None:
        client.transport.resume()


_ACTIONS: dict[type[Any], Any] = {
    Send: Hub._send,
    Forward: Hub._forward,
    Start: Hub._start,
    Activate: Hub._activate,
    Drop: Hub._drop_action,
    Close: Hub._close,
    Pause: Hub._pause,
    Resume: Hub._resume,
}

_COMMANDS: dict[type[Any], Any] = {
    commands.Joined: Session.joined,
    commands.Refused: lambda session, channel, each: session.refused(channel, each.codec, each.data),
    commands.Reply: Session.replied,
    commands.Pushed: Session.pushed,
    commands.Closed: lambda session, channel, _: session.closed(channel),
    commands.Crashed: lambda session, channel, _: session.crashed(channel),
}
