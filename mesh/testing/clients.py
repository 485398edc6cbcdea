"""What a test holds of one client: TestSocket, and TestChannel for each topic it joined."""

from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from mesh import payloads, topics
from mesh.channel import Channel
from mesh.errors import MeshError
from mesh.link import commands
from mesh.messages import Sender
from mesh.mount import Mount
from mesh.testing.matching import ANY

if TYPE_CHECKING:
    from mesh.testing.channel_case import ChannelCase

CLOSE_SECONDS = 5.0


class JoinRefused(MeshError):  # noqa: N818
    """`join` refused; `reply` is its reply."""

    def __init__(self, topic: str, reply: Any) -> None:
        super().__init__(f"{topic!r} was refused with {reply!r}")
        self.reply = reply


class Received:
    """What the client of one channel was sent, oldest first; assertions take out what they find."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.pushes: list[tuple[str, Any]] = []
        self.replies: list[tuple[Any, str, Any]] = []
        self.end: str | None = None


class TestSocket:
    """One connected client.

    Attributes:
        id: of the socket.
        assigns: a copy of what `connect` left.
    """

    __test__ = False

    def __init__(
        self,
        case: "ChannelCase",
        mount: Mount,
        id: str | None,
        assigns: bytes,
        transport: str,
        serializer: str,
    ) -> None:
        self.id = id
        self.assigns: dict[str, Any] = msgspec.msgpack.decode(assigns)
        self._case = case
        self._mount = mount
        self._packed = assigns
        self._transport = transport
        self._serializer = serializer
        self._joined: dict[str, TestChannel] = {}
        self._refs = count(1)

    def join(self, topic: str, payload: Any = None) -> "TestChannel":
        """Join; the reply is in the channel's `reply`.

        Raises:
            JoinRefused: with the reply, also `{"reason": "unmatched topic"}` and `"join crashed"`.
        """
        if self._mount.routes.find(topic) is None or topics.is_reserved(topic):
            raise JoinRefused(topic, {"reason": "unmatched topic"})
        old = self._joined.pop(topic, None)
        if old is not None:
            old._replaced()
        return TestChannel(self, topic, {} if payload is None else payload)

    def subscribe_and_join(self, topic: str, payload: Any = None) -> "TestChannel":
        """`join`, and let `assert_broadcast` hear the topic. Raises as `join`."""
        self._case.subscribe(topic)
        return self.join(topic, payload)

    def disconnect(self, reason: str = "closed") -> None:
        """The client is gone; its channels end with this reason."""
        numbers = [channel.number for channel in self._joined.values()]
        self._joined.clear()
        if self in self._case.open:
            self._case.open.remove(self)
        if numbers:
            self._case.command(commands.SocketDown(numbers, reason))
            self._case.settle(None)


class TestChannel:
    """One joined channel, from its client's side.

    Attributes:
        topic: joined.
        reply: to the join.
        channel: the living Channel, e.g. for its `assigns`.
        number: of the channel.
    """

    __test__ = False

    def __init__(self, socket: TestSocket, topic: str, payload: Any) -> None:
        case = socket._case
        self.topic = topic
        self.number = next(case.numbers)
        self._socket = socket
        self._case = case
        self._received = case.received[self.number] = Received(topic)
        ref = self._ref()
        codec, data = payloads.encode(payload)
        join = commands.Join(
            self.number, socket._mount.path, topic, ref, socket.id, socket._transport,
            socket._serializer, socket._packed, codec, data,
        )  # fmt: skip
        case.command(join)
        answer = case.wait(lambda: case.answers.get(self.number), CLOSE_SECONDS)
        if answer is None:
            raise AssertionError(f"the join of {topic!r} was not answered within {CLOSE_SECONDS:g} seconds")
        assert isinstance(answer, (commands.Joined, commands.Refused))
        self.reply = payloads.decode(answer.codec, answer.data)
        if isinstance(answer, commands.Refused):
            raise JoinRefused(topic, self.reply)
        server = case.server(self.number)
        self.channel: Channel | None = server.channel if server is not None else None
        socket._joined[topic] = self

    # What the client does

    def push(self, event: str, payload: Any = None) -> str:
        """Send an event; returns its ref, for `assert_reply`."""
        ref = self._ref()
        codec, data = payloads.encode({} if payload is None else payload)
        self._case.command(commands.Push(self.number, ref, event, codec, data))
        return ref

    def leave(self) -> str:
        """Leave; returns the ref of the leave, which is answered ok."""
        ref = self._ref()
        self._socket._joined.pop(self.topic, None)
        self._case.command(commands.Leave(self.number, ref))
        return ref

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """The client's connection ends; returns once `terminate` has run."""
        self._socket._joined.pop(self.topic, None)
        self._case.command(commands.SocketDown([self.number], "closed"))
        self._case.wait(lambda: self._case.server(self.number) is None or None, timeout_seconds)

    def broadcast_from(self, event: str, payload: Any) -> None:
        """Broadcast as the test: it reaches this and every other channel, but not `assert_broadcast`."""
        self._case.bus.skip(self.topic, "the test")
        sender = Sender("the test", 0, skip=True)
        pubsub = self._case.endpoint.pubsub
        self._case.do(lambda: pubsub.broadcast_from(sender, self.topic, event, payload))

    # What the client is sent

    def assert_reply(
        self, ref: str, status: str = "ok", payload: Any = ANY, *, timeout_seconds: float | None = None
    ) -> Any:
        """The push of that ref was replied to so; returns the reply's payload."""

        def found() -> int | None:
            for index, (of, how, value) in enumerate(self._received.replies):
                if of == ref and how == status and payload == value:
                    return index
            return None

        index = self._case.wait(found, timeout_seconds)
        if index is None:
            wanted = f"reply {status!r} with {payload!r} to {ref!r}"
            raise AssertionError(
                missing(wanted, "replies", self._received.replies, self._case, self._received)
            )
        return self._received.replies.pop(index)[2]

    def refute_reply(
        self, ref: str, status: Any = ANY, payload: Any = ANY, *, timeout_seconds: float | None = None
    ) -> None:
        """The push of that ref is not replied to so."""
        self._case.settle(timeout_seconds)
        for of, how, value in self._received.replies:
            if of == ref and status == how and payload == value:
                raise AssertionError(f"{ref!r} was replied to: {how!r} with {value!r}")

    def assert_push(self, event: str, payload: Any = ANY, *, timeout_seconds: float | None = None) -> Any:
        """The client was sent this event, by a push or a broadcast; returns its payload."""

        def found() -> int | None:
            for index, (sent, value) in enumerate(self._received.pushes):
                if sent == event and payload == value:
                    return index
            return None

        index = self._case.wait(found, timeout_seconds)
        if index is None:
            wanted = f"push {event!r} with {payload!r}"
            raise AssertionError(
                missing(wanted, "pushes", self._received.pushes, self._case, self._received)
            )
        return self._received.pushes.pop(index)[1]

    def refute_push(self, event: str, payload: Any = ANY, *, timeout_seconds: float | None = None) -> None:
        """The client is not sent this event."""
        self._case.settle(timeout_seconds)
        for sent, value in self._received.pushes:
            if sent == event and payload == value:
                raise AssertionError(f"{event!r} was pushed with {value!r}")

    def assert_closed(self, timeout_seconds: float | None = None) -> None:
        """The channel ended as it should: the client gets `phx_close`."""
        self._assert_end("closed", timeout_seconds)

    def assert_crashed(self, timeout_seconds: float | None = None) -> None:
        """The channel ended by an error: the client gets `phx_error`."""
        self._assert_end("crashed", timeout_seconds)

    def _assert_end(self, wanted: str, timeout_seconds: float | None) -> None:
        end = self._case.wait(lambda: self._received.end, timeout_seconds)
        if end != wanted:
            raise AssertionError(f"the channel on {self.topic!r} is {end or 'still joined'}, not {wanted}")

    def _replaced(self) -> None:
        self._case.command(commands.Replace(self.number))
        self._case.wait(lambda: self._received.end, CLOSE_SECONDS)

    def _ref(self) -> str:
        return str(next(self._socket._refs))


def missing(
    wanted: str, kind: str, seen: list[Any], case: "ChannelCase", received: Received | None = None
) -> str:
    """What an assertion says when it has not found what it wanted."""
    lines = [f"no {wanted}"]
    lines += [f"  {kind} so far: {each!r}" for each in seen] or [f"  no {kind} so far"]
    if received is not None and received.end is not None:
        lines.append(f"  the channel has {received.end}")
    elif case.busy():
        lines.append("  a callback is still waiting; give timeout_seconds=")
    return "\n".join(lines)
