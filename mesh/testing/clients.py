"""A client, as a test uses it: TestSocket, and a TestChannel for each topic that it joined."""

from collections.abc import Callable
from itertools import count
from typing import Any, Protocol, TypeVar

import msgspec

from mesh.app import topics
from mesh.app.channel import Channel
from mesh.app.endpoint import Endpoint
from mesh.app.mount import Mount
from mesh.app.replies import NO_PAYLOAD, payload_or_default
from mesh.errors import ApplicationError, MeshError
from mesh.link import commands
from mesh.protocol import payloads
from mesh.testing.failures import FailedCase, cause, ended, fail
from mesh.testing.matching import ANY, take
from mesh.testing.memory_bus import THE_TEST
from mesh.testing.memory_gateway import Push, Received

Result = TypeVar("Result")

CLOSE_SECONDS = 5.0
KILL_SECONDS = 1.0
UNMATCHED = {"reason": "unmatched topic"}


class JoinRefused(MeshError):  # noqa: N818
    """The join was refused; `reply` is its reply. If `join` crashed, the error is the cause."""

    def __init__(self, topic: str, reply: Any) -> None:
        super().__init__(f"{topic!r} was refused with {reply!r}")
        self.reply = reply


class Case(FailedCase, Protocol):
    """What a client needs of its ChannelCase: the gateway, and the event loop in which all of it runs."""

    @property
    def endpoint(self) -> Endpoint:
        """The application."""

    @property
    def numbers(self) -> "count[int]":
        """The numbers of channels."""

    def subscribe(self, topic: str) -> None:
        """Record the broadcasts of `topic`."""

    def do(self, what: Callable[[], Any]) -> None:
        """Call something in the event loop, and run what it started."""

    def settle(self, timeout_seconds: float | None) -> None:
        """Run what can run; then, while callbacks wait for time or input, that long at most."""

    def wait(self, found: Callable[[], Result | None], timeout_seconds: float | None) -> Result | None:
        """Run on until `found` returns a value, for at most that long."""


class TestSocket:
    """One connected client.

    Attributes:
        id: the id of the socket.
        assigns: a copy of the assigns after `connect`.
        connected: False after `disconnect`, or `endpoint.disconnect` of its id.
    """

    __test__ = False

    def __init__(
        self,
        case: Case,
        mount: Mount,
        id: str | None,
        assigns: bytes,
        transport: str,
        serializer: str,
    ) -> None:
        self.id = id
        self.assigns: dict[str, Any] = msgspec.msgpack.decode(assigns)
        self.connected = True
        self._case = case
        self._mount = mount
        self._packed = assigns
        self._transport = transport
        self._serializer = serializer
        self._joined: dict[str, TestChannel] = {}
        self._refs = count(1)
        case.gateway.clients[self] = None

    def join(self, topic: str, payload: Any = None) -> "TestChannel":
        """Join a topic; the reply is in the channel's `reply`.

        Raises:
            JoinRefused: with the reply, including `{"reason": "unmatched topic"}` and `"join crashed"`.
            ApplicationError: if the socket is disconnected.
        """
        if not self.connected:
            raise ApplicationError(f"{topic!r} cannot be joined: the socket is disconnected")
        if topics.is_reserved(topic) or "\x00" in topic or self._mount.routes.find(topic) is None:
            raise JoinRefused(topic, UNMATCHED)
        old = self._joined.pop(topic, None)
        if old is not None:
            old._replaced()
        return TestChannel(self, topic, {} if payload is None else payload)

    def subscribe_and_join(self, topic: str, payload: Any = None) -> "TestChannel":
        """`join`, and let `assert_broadcast` see the topic's broadcasts. Raises as `join`."""
        self._case.subscribe(topic)
        return self.join(topic, payload)

    def disconnect(self, reason: str = "closed") -> None:
        """Disconnect the client; return when its channels have ended with this reason."""
        channels = list(self._joined.values())
        self._case.do(lambda: self.on_disconnected(reason))
        for channel in channels:
            channel._end(CLOSE_SECONDS)

    def on_disconnected(self, reason: str) -> None:
        """The connection has ended; called in the event loop."""
        self.connected = False
        self._case.gateway.clients.pop(self, None)
        numbers = [channel.number for channel in self._joined.values()]
        self._joined.clear()
        if numbers:
            self._case.gateway.socket_down(numbers, reason)


class TestChannel:
    """One joined channel, from its client's side.

    Attributes:
        topic: the topic that was joined.
        reply: the reply to the join.
        channel: the Channel object, e.g. for its `assigns`.
        number: the channel's number on the link.
    """

    __test__ = False

    def __init__(self, socket: TestSocket, topic: str, payload: Any) -> None:
        case = socket._case
        self.topic = topic
        self.number = next(case.numbers)
        self._socket = socket
        self._case = case
        codec, data = payloads.encode(payload)
        join = commands.Join(
            self.number, socket._mount.path, topic, self._ref(), socket.id, socket._transport,
            socket._serializer, socket._packed, codec, data,
        )  # fmt: skip
        self._received: Received
        case.do(lambda: setattr(self, "_received", case.gateway.join(join)))
        received = self._received
        answer = case.wait(lambda: received.answer, CLOSE_SECONDS)
        if answer is None:
            raise AssertionError(f"the join of {topic!r} was not answered within {CLOSE_SECONDS:g} seconds")
        self.reply: Any = payloads.decode(answer.codec, answer.data)
        if isinstance(answer, commands.Refused):
            raise JoinRefused(topic, self.reply) from cause(received)
        assert received.server is not None
        self.channel: Channel = received.server.channel
        socket._joined[topic] = self

    @property
    def position(self) -> dict[str, Any] | None:
        """Up to where the client has the history of its topic, for a later join: `{"history": position}`.

        None if it did not ask for the history.
        """
        position = self._received.position
        return None if position is None else {"epoch": position[0], "offset": position[1]}

    # What the client does

    def push(self, event: str, payload: Any = NO_PAYLOAD) -> str:
        """Send an event, with `{}` by default; return its ref, for `assert_reply`.

        As in production, the error reply "unmatched topic" is sent if the channel has ended.
        """
        ref = self._ref()
        codec, data = payloads.encode(payload_or_default(payload))
        if self._received.end is not None:
            self._received.replies.append((ref, "error", UNMATCHED))
            return ref
        self._command(commands.Push(self.number, ref, event, codec, data))
        return ref

    def leave(self) -> str:
        """Leave; return the ref of the leave, which is answered with ok."""
        ref = self._ref()
        self._forget()
        if self._received.end is not None:
            self._received.replies.append((ref, "ok", {}))
            return ref
        self._command(commands.Leave(self.number, ref))
        return ref

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Disconnect; return once `terminate` has run, and kill the channel if that takes too long."""
        self._forget()
        if self._received.end is None:
            self._case.do(lambda: self._case.gateway.socket_down([self.number], "closed"))
        self._end(timeout_seconds)

    def broadcast_from(self, event: str, payload: Any) -> None:
        """Broadcast from the test: it reaches this and every other channel, but not `assert_broadcast`."""
        pubsub = self._case.endpoint.pubsub
        self._case.do(lambda: pubsub.broadcast_from(THE_TEST, self.topic, event, payload))

    # What the client is sent

    def assert_reply(
        self, ref: str, status: str = "ok", payload: Any = ANY, *, timeout_seconds: float | None = None
    ) -> Any:
        """Assert that the push with this ref was replied to like this; return the payload of the reply."""
        replies = self._received.replies

        def wanted(reply: tuple[Any, str, Any]) -> bool:
            return bool(reply[0] == ref and reply[1] == status and payload == reply[2])

        found = self._case.wait(lambda: take(replies, wanted), timeout_seconds)
        if found is None:
            sentence = f"no reply {status!r} with {payload!r} to {ref!r}"
            fail(sentence, "replies", replies, self._case, self._received)
        return found[2]

    def refute_reply(
        self, ref: str, status: Any = ANY, payload: Any = ANY, *, timeout_seconds: float | None = None
    ) -> None:
        """Assert that the push with this ref is not replied to like this."""
        self._case.settle(timeout_seconds)
        for of, how, value in self._received.replies:
            if of == ref and status == how and payload == value:
                raise AssertionError(f"{ref!r} was replied to: {how!r} with {value!r}")

    def assert_push(
        self, event: str, payload: Any = ANY, *, offset: Any = ANY, timeout_seconds: float | None = None
    ) -> Any:
        """Assert that the client was sent this event, by a push or broadcast; return the payload.

        If the client asked for the history of its topic, `offset` is that of a kept broadcast, and None for
        everything else.
        """
        pushes = self._received.pushes

        def wanted(push: Push) -> bool:
            return bool(push.event == event and payload == push.payload and offset == push.offset)

        found = self._case.wait(lambda: take(pushes, wanted), timeout_seconds)
        if found is None:
            sentence = f"no push {event!r} with {payload!r}"
            if offset is not ANY:
                sentence += f" at offset {offset!r}"
            seen = [each[:2] if each.offset is None else tuple(each) for each in pushes]
            fail(sentence, "pushes", seen, self._case, self._received)
        return found.payload

    def refute_push(self, event: str, payload: Any = ANY, *, timeout_seconds: float | None = None) -> None:
        """Assert that the client is not sent this event."""
        self._case.settle(timeout_seconds)
        for sent, value, _ in self._received.pushes:
            if sent == event and payload == value:
                raise AssertionError(f"{event!r} was pushed with {value!r}")

    def assert_closed(self, timeout_seconds: float | None = None) -> Any:
        """Assert that the channel ended normally; return the reason that was passed to `terminate`."""
        return self._assert_end("closed", timeout_seconds)

    def assert_crashed(self, timeout_seconds: float | None = None) -> Any:
        """Assert that the channel ended by an error, so that its client received `phx_error`; return the
        error.

        For a channel that stopped itself with a reason of its own, return that reason.
        """
        return self._assert_end("crashed", timeout_seconds)

    def _assert_end(self, wanted: str, timeout_seconds: float | None) -> Any:
        received = self._received
        end = self._case.wait(lambda: received.end, timeout_seconds)
        if end != wanted:
            how = "is still joined" if end is None else ended(received)
            raise AssertionError(f"the channel on {self.topic!r} {how}; it should be {wanted}") from cause(
                received
            )
        self._case.wait(lambda: received.terminated or None, timeout_seconds)
        return received.reason

    # Helpers

    def _command(self, command: commands.ToWorker) -> None:
        self._case.do(lambda: self._case.gateway.command(command))

    def _forget(self) -> None:
        if self._socket._joined.get(self.topic) is self:
            del self._socket._joined[self.topic]

    def _replaced(self) -> None:
        if self._received.end is None:
            self._command(commands.Replace(self.number))
            self._case.wait(lambda: self._received.end, CLOSE_SECONDS)

    def _end(self, timeout_seconds: float) -> None:
        """Wait until `terminate` has run; kill the channel if that takes too long."""
        received = self._received
        if self._case.wait(lambda: received.terminated or None, timeout_seconds):
            return
        received.end = "killed"
        self._case.do(self._kill)
        self._case.wait(lambda: received.terminated or None, KILL_SECONDS)

    def _kill(self) -> None:
        server = self._received.server
        assert server is not None
        server.shut_down()
        if server.task is not None:  # `terminate` itself does not end
            server.task.cancel()

    def _ref(self) -> str:
        return str(next(self._socket._refs))
