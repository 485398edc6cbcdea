"""A gateway in memory: keeps what the worker sends over its link for the assertions of a test.

It does for its clients what a gateway does (gateway/hub.py, fanout/), but without a protocol: each
channel's client is a Received.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple, Protocol

from mesh.app.channel import Channel
from mesh.bus.frames import Header, Recorded
from mesh.bus.frames import Received as ReceivedHeader
from mesh.errors import EncodeError
from mesh.link import commands
from mesh.protocol import payloads, positions
from mesh.protocol.messages import BINARY, DISCONNECT, JSON, Sender
from mesh.protocol.serializers.base import Frame
from mesh.protocol.serializers.registry import client_serializer
from mesh.worker.channel.server import ChannelServer
from mesh.worker.channels import Channels

LINK = b"test"
GATEWAY = "test"
JOIN_CRASHED = b'{"reason":"join crashed"}'


class Push(NamedTuple):
    """A push or broadcast, as a client received it.

    Attributes:
        event: its event.
        payload: its payload, decoded.
        offset: the offset of a kept broadcast, if the client asked for positions.
    """

    event: str
    payload: Any
    offset: int | None = None


class Received:
    """What the client of one channel was sent, oldest first; assertions remove what they find.

    Attributes:
        topic: the channel's topic.
        pushes: each push or broadcast.
        replies: (ref, status, payload) of each reply.
        skipped: the events that this client's protocol cannot carry.
        answer: the answer to the join.
        position: the epoch and offset up to which the client has the history of its topic, if it asked.
        end: "closed", "crashed" or "killed"; None while the client was not informed of an end.
        reason: the argument of `terminate`.
        terminated: whether `terminate` has run.
        server: the channel's server, even after the channel's end.
    """

    def __init__(self, topic: str, transport: str, serializer: str) -> None:
        self.topic = topic
        self.pushes: list[Push] = []
        self.replies: list[tuple[Any, str, Any]] = []
        self.skipped: list[str] = []
        self.answer: commands.Joined | commands.Refused | None = None
        self.position: tuple[str, int] | None = None
        self.end: str | None = None
        self.reason: Any = None
        self.terminated = False
        self.server: ChannelServer | None = None
        self._epoch = ""
        self._serializer = client_serializer(serializer, transport)

    @property
    def joined(self) -> bool:
        """Whether the client is a member of the topic."""
        return isinstance(self.answer, commands.Joined) and self.end is None

    @property
    def intercepts(self) -> Collection[str]:
        """The events whose broadcasts reach the client through handle_out only."""
        return self.answer.intercepts if isinstance(self.answer, commands.Joined) else ()

    def push(self, event: str, codec: int, data: bytes) -> None:
        """Record a push to the client."""
        if self._carries(event, codec, lambda: self._encode_push(event, codec, data)):
            self.pushes.append(Push(event, payloads.decode(codec, data)))

    def broadcast(self, event: str, codec: int, data: bytes) -> None:
        """Record a broadcast to the client."""
        encode = self._serializer.encode_broadcast
        if self._carries(event, codec, lambda: encode(self.topic, event, codec, data)):
            self.pushes.append(Push(event, payloads.decode(codec, data)))

    # For clients that asked for the history

    @property
    def positioned(self) -> bool:
        """Whether the client receives the positions of kept broadcasts."""
        return isinstance(self.answer, commands.Joined) and self.answer.history

    def history_state(self, state: commands.HistoryState) -> None:
        """Record the answer to what the client asked for."""
        epoch, offset, recovered, count = state.epoch, state.offset, state.recovered, state.count
        self.push(positions.HISTORY_STATE, JSON, positions.encode_state(epoch, offset, recovered, count))
        self._epoch = epoch
        if not count:  # otherwise the missed broadcasts move the position
            self.position = epoch, offset

    def missed(self, missed: commands.Missed) -> None:
        """Record broadcasts that the client has missed."""
        for offset, event, codec, data in missed.broadcasts:
            if event not in self.intercepts:
                self.kept_broadcast(event, codec, data, self._epoch, offset)

    def kept_broadcast(self, event: str, codec: int, data: bytes, epoch: str, offset: int) -> None:
        """Record a broadcast to the client with its position."""
        encode, serializer = positions.encode_broadcast, self._serializer
        args = serializer, self.topic, event, codec, data, epoch, offset
        if not self._carries(event, codec, lambda: encode(*args)):
            return
        if codec == BINARY and not serializer.binary_broadcasts_have_ref:
            position = {"epoch": epoch, "offset": offset, "event": event}
            self.pushes.append(Push(positions.HISTORY_POSITION, position))
        self.pushes.append(Push(event, payloads.decode(codec, data), offset))
        self.position = epoch, offset

    def own_broadcast(self, epoch: str, offset: int) -> None:
        """Record the position of the client's own broadcast_from, which it does not receive."""
        self.pushes.append(Push(positions.HISTORY_POSITION, {"epoch": epoch, "offset": offset}))
        self.position = epoch, offset

    def reply(self, reply: commands.Reply) -> None:
        """Record a reply to the client."""
        encode = self._serializer.encode_reply
        ref, status, codec, data = reply.ref, reply.status, reply.codec, reply.data
        if self._carries(status, codec, lambda: encode("1", ref, self.topic, status, codec, data)):
            self.replies.append((ref, status, payloads.decode(codec, data)))

    def _encode_push(self, event: str, codec: int, data: bytes) -> Frame:
        return self._serializer.encode_push("1", self.topic, event, codec, data)

    def _carries(self, what: str, codec: int, encode: Callable[[], object]) -> bool:
        if codec == BINARY and not self._serializer.carries_binary:
            self.skipped.append(what)
            return False
        try:
            encode()
        except EncodeError:
            self.skipped.append(what)
            return False
        return True


class Client(Protocol):
    """A connected client, as the gateway sees it."""

    id: str | None

    def on_disconnected(self, reason: str) -> None:
        """The server has closed its connection."""


class MemoryGateway:
    """The only gateway of the worker.

    Args:
        make_channels: makes the channels of the worker; called with this gateway, which handles their
            commands.

    Attributes:
        channels: the channels of the worker.
        received: by channel number.
        clients: the connected clients.
    """

    def __init__(self, make_channels: Callable[["MemoryGateway"], Channels]) -> None:
        self.received: dict[int, Received] = {}
        self.clients: dict[Client, None] = {}
        self.channels = make_channels(self)
        self.channels.gateway_up(LINK, GATEWAY)

    def join(self, join: commands.Join) -> Received:
        """Send a join; return the object that receives the answer."""
        received = Received(join.topic, join.transport, join.serializer)
        self.received[join.channel] = received
        self.command(join)
        received.server = server = self.channels.server(LINK, join.channel)
        if server is not None:
            _record_termination(server.channel, received)
        return received

    def socket_down(self, numbers: list[int], reason: str) -> None:
        """The client of these channels is gone: it receives nothing any longer."""
        self.command(commands.SocketDown(numbers, reason))
        for number in numbers:
            received = self.received[number]
            received.end = received.end or "closed"

    def command(self, command: commands.ToWorker) -> None:
        """Send a command to the worker."""
        self.channels.handle(LINK, command)

    # From the worker

    def on_command(self, _link: bytes, command: commands.ToGateway) -> int:
        """Handle a command from the worker."""
        if isinstance(command, commands.Broadcast):
            self._deliver(command.topic, command.event, command.codec, command.data, None)
            return 0
        received = self.received.get(getattr(command, "channel", 0))
        if received is None or received.end is not None:
            return 0
        if isinstance(command, (commands.Joined, commands.Refused)):
            received.answer = command
        elif isinstance(command, commands.Reply):
            received.reply(command)
        elif isinstance(command, commands.Pushed):
            received.push(command.event, command.codec, command.data)
        elif isinstance(command, commands.HistoryState):
            received.history_state(command)
        elif isinstance(command, commands.Missed):
            received.missed(command)
        elif isinstance(command, (commands.Closed, commands.Crashed)):
            if received.answer is None:  # the join will never be answered
                received.answer = commands.Refused(command.channel, JSON, JOIN_CRASHED)
            received.end = "closed" if isinstance(command, commands.Closed) else "crashed"
        return 0

    # From the bus

    def broadcast(self, topic: str, header: Header, data: bytes) -> None:
        """Deliver a broadcast to clients and worker."""
        self._deliver(topic, header.event, header.codec, data, header.sender)
        self.channels.members.broadcast(topic, header, data)
        if header.event == DISCONNECT:
            for client in [each for each in self.clients if each.id == topic]:
                client.on_disconnected("disconnected")

    def recorded(self, topic: str, header: ReceivedHeader, data: bytes) -> None:
        """Deliver a recorded broadcast to clients and worker.

        None is held for a client that recovers: the recorder answers at once (lone_recorder.py), so that
        nothing comes between the reply to a join and what was missed.
        """
        if header.event:
            self._deliver(topic, header.event, header.codec, data, header.sender, header.recorded)
        self.channels.on_recorded(topic, header, data)

    def _deliver(
        self,
        topic: str,
        event: str,
        codec: int,
        data: bytes,
        sender: Sender | None,
        recorded: Recorded | None = None,
    ) -> None:
        skipped = (
            sender.channel if sender is not None and sender.skip and sender.gateway == GATEWAY else None
        )
        for number, received in self.received.items():
            if received.topic != topic or not received.joined or event in received.intercepts:
                continue
            position = recorded if received.positioned else None
            if number == skipped:
                if position is not None:
                    received.own_broadcast(position.epoch, position.offset)
            elif position is not None:
                received.kept_broadcast(event, codec, data, position.epoch, position.offset)
            else:
                received.broadcast(event, codec, data)


def _record_termination(channel: Channel, received: Received) -> None:
    """Record the argument of `terminate`, and when it has ended, which a gateway does not learn."""
    terminate = channel.terminate

    def watched(reason: Any) -> Any:
        received.reason = reason
        try:
            result = terminate(reason)
        except BaseException:
            received.terminated = True
            raise
        if result is not None and hasattr(result, "__await__"):
            return _await_termination(result, received)
        received.terminated = True
        return result

    channel.terminate = watched  # type: ignore[method-assign]


async def _await_termination(result: Awaitable[Any], received: Received) -> Any:
    try:
        return await result
    finally:
        received.terminated = True
