"""ChannelCase: an endpoint's sockets and channels, run in a plain test function.

The channels run in the real worker code (mesh/runtime) over a bus in memory; only gateway and network are
left out. Payloads are really encoded, so that what could not be sent fails in the test.
Source: Phoenix.ChannelTest.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, TypeVar

import msgspec

from mesh import payloads, topics
from mesh.channel import Reply
from mesh.endpoint import Endpoint
from mesh.errors import MeshError
from mesh.link import commands
from mesh.messages import Sender
from mesh.mount import Mount
from mesh.pubsub import PubSub
from mesh.runtime.channel_server import ChannelServer
from mesh.runtime.channels import Channels
from mesh.runtime.presences import Presences
from mesh.settings import PresenceSettings, WorkerSettings
from mesh.socket import ConnectInfo, SocketHandler
from mesh.testing.clients import Received, TestSocket, missing
from mesh.testing.matching import ANY
from mesh.testing.memory_bus import MemoryBus

LINK = b"test"
GATEWAY = "test"
SECRET = "the secret of channel tests"  # noqa: S105
ASSERT_SECONDS = 0.1

Result = TypeVar("Result")


class ConnectRefused(MeshError):  # noqa: N818  (what happened, not an error of the test)
    """`connect` refused; `returned` is what it returned."""

    def __init__(self, message: str, returned: Any = None) -> None:
        super().__init__(message)
        self.returned = returned


class ChannelCase:
    """One test's worker.

    Args:
        endpoint: the application.
        assert_seconds: how long an assertion waits for callbacks that wait themselves; what is ready is
            run to its end anyway.
    """

    def __init__(self, endpoint: Endpoint, assert_seconds: float = ASSERT_SECONDS) -> None:
        self.endpoint = endpoint
        self.assert_seconds = assert_seconds
        self.bus = MemoryBus()
        self._loop = asyncio.new_event_loop()
        self.numbers = count(1)
        self.received: dict[int, Received] = {}
        self.answers: dict[int, commands.ToGateway] = {}
        self.open: list[TestSocket] = []
        self.channels: Channels
        self._presences: Presences
        self.run(self._start())

    async def _start(self) -> None:
        self.channels = channels = Channels(self.endpoint, self.bus, self._sent, WorkerSettings())
        self._presences = channels.presences = Presences(
            self.endpoint.presences,
            "test",
            self.bus.publish_kind,
            PresenceSettings(),
            channels.local_broadcast,
        )
        self.bus.on_broadcast = self._broadcast
        self.bus.on_published = channels.published
        channels.gateway_up(LINK, GATEWAY)
        self.endpoint.configure(SECRET)
        self.endpoint.bind(PubSub(self.bus, channels.local_broadcast))
        self._presences.start()

    def close(self) -> None:
        """End all channels; the fixture does it."""
        if self._loop.is_closed():
            return
        for socket in list(self.open):
            socket.disconnect()
        self.run(self.channels.aclose())
        self.run(self._close_presences())
        self.endpoint.bind(None)
        self.run(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _close_presences(self) -> None:
        self._presences.close()

    # Sockets

    def connect(
        self,
        params: Mapping[str, Any] | None = None,
        *,
        path: str | None = None,
        info: ConnectInfo | None = None,
        serializer: str = "v2_json",
    ) -> TestSocket:
        """Run the handler's `connect` and `id`.

        Args:
            params: as a client sends them.
            path: of the mount; may be left out if there is only one.
            info: what `connect` may know of the request.
            serializer: "v1_json" to see what its clients cannot receive.

        Raises:
            ConnectRefused: if `connect` refuses.
        """
        mount = self._mount(path)
        handler = mount.handler()
        given = dict(params or {})
        known = info or ConnectInfo(transport="websocket", extra=mount.connect_info)
        result = self.run(_resolved(lambda: handler.connect(given, known)))
        if result is False or (isinstance(result, Reply) and result.status == "error"):
            raise ConnectRefused(f"{mount.handler.__name__}.connect refused {given!r}", result)
        if result is not None and result is not True:
            raise ConnectRefused(
                f"{mount.handler.__name__}.connect returned {result!r};"
                " expected None, True, False or refuse()"
            )
        return self._socket(mount, handler, handler.id(), known.transport, serializer)

    def socket(
        self,
        path: str | None = None,
        *,
        id: str | None = None,
        assigns: Mapping[str, Any] | None = None,
        serializer: str = "v2_json",
    ) -> TestSocket:
        """A socket with these assigns, without running `connect`."""
        mount = self._mount(path)
        handler = mount.handler()
        handler.assigns.update(assigns or {})
        return self._socket(mount, handler, id, "websocket", serializer)

    def _socket(
        self, mount: Mount, handler: SocketHandler, id: str | None, transport: str, serializer: str
    ) -> TestSocket:
        if id is not None:
            topics.check(id)
        packed = msgspec.msgpack.encode(handler.assigns)
        socket = TestSocket(self, mount, id, packed, transport, serializer)
        self.open.append(socket)
        return socket

    def _mount(self, path: str | None) -> Mount:
        mounts = self.endpoint.mounts
        if path is None and len(mounts) == 1:
            return next(iter(mounts.values()))
        if path is None or path not in mounts:
            raise ConnectRefused(f"no socket is mounted at {path!r}; give path= one of {sorted(mounts)}")
        return mounts[path]

    # Broadcasts

    def subscribe(self, topic: str) -> None:
        """Let `assert_broadcast` hear what is broadcast on `topic` from now on."""
        self.bus.listen(topic)

    def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """As from somewhere else in the application."""
        self.do(lambda: self.endpoint.broadcast(topic, event, payload))

    def assert_broadcast(
        self,
        event: str,
        payload: Any = ANY,
        *,
        topic: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Something was broadcast on a topic subscribed to; returns its payload."""

        def found() -> int | None:
            for index, each in enumerate(self.bus.heard):
                if each.event == event and payload == each.payload and topic in (None, each.topic):
                    return index
            return None

        index = self.wait(found, timeout_seconds)
        if index is None:
            heard = [(each.topic, each.event, each.payload) for each in self.bus.heard]
            raise AssertionError(
                missing(f"broadcast {event!r} with {payload!r}", "broadcasts", heard, self)
            )
        return self.bus.heard.pop(index).payload

    def refute_broadcast(
        self,
        event: str,
        payload: Any = ANY,
        *,
        topic: str | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Nothing like it is broadcast."""
        self.settle(timeout_seconds)
        for each in self.bus.heard:
            if each.event == event and payload == each.payload and topic in (None, each.topic):
                raise AssertionError(f"{event!r} was broadcast on {each.topic!r} with {each.payload!r}")

    # The worker's side of the link

    def _sent(self, _link: bytes, command: commands.ToGateway) -> int:
        if isinstance(command, commands.Broadcast):
            self._deliver(command.topic, command.event, command.codec, command.data, None)
            return 0
        number = getattr(command, "channel", 0)
        received = self.received.get(number)
        if isinstance(command, (commands.Joined, commands.Refused)):
            self.answers[number] = command
        elif received is None:
            pass
        elif isinstance(command, commands.Reply):
            value = payloads.decode(command.codec, command.data)
            received.replies.append((command.ref, command.status, value))
        elif isinstance(command, commands.Pushed):
            received.pushes.append((command.event, payloads.decode(command.codec, command.data)))
        elif isinstance(command, commands.Closed):
            received.end = "closed"
        elif isinstance(command, commands.Crashed):
            received.end = "crashed"
        return 0

    def _broadcast(self, topic: str, header: Any, data: bytes) -> None:
        self._deliver(topic, header.event, header.codec, data, header.sender)
        self.channels.broadcast(topic, header, data)

    def _deliver(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> None:
        """What a gateway's fan-out does."""
        for number, received in self.received.items():
            answer = self.answers.get(number)
            if received.topic != topic or received.end or not isinstance(answer, commands.Joined):
                continue
            skipped = sender is not None and sender.skip and sender[:2] == (GATEWAY, number)
            if not skipped and event not in answer.intercepts:
                received.pushes.append((event, payloads.decode(codec, data)))

    def command(self, command: commands.ToWorker) -> None:
        """As a gateway."""
        self.do(lambda: self.channels.handle(LINK, command))

    def server(self, number: int) -> ChannelServer | None:
        """The living channel of that number."""
        return self.channels.server(LINK, number)

    def busy(self) -> bool:
        """Whether something goes on that an assertion may wait for."""
        return self.channels.busy() or self._presences.busy

    # The event loop

    def do(self, what: Callable[[], Any]) -> None:
        """Call something in the event loop, and run what it started."""

        async def done() -> None:
            what()

        self.run(done())
        self.settle(0)

    def run(self, work: Awaitable[Result]) -> Result:
        """Run a coroutine of the test's own in the case's event loop."""
        return self._loop.run_until_complete(work)

    def settle(self, timeout_seconds: float | None) -> None:
        """Run what can run; then, if callbacks wait for time or input, that long at most."""
        self.wait(lambda: None, timeout_seconds)

    def wait(self, found: Callable[[], Result | None], timeout_seconds: float | None) -> Result | None:
        """Run on until `found` finds something, or nothing more can happen, or for that long."""
        limit = self.assert_seconds if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + limit
        while True:
            self.run(_turns())
            result = found()
            if result is not None or not self.busy() or time.monotonic() >= deadline:
                return result
            self.run(asyncio.sleep(0.001))


async def _resolved(call: Callable[[], Any]) -> Any:
    result = call()
    return await result if hasattr(result, "__await__") else result


async def _turns() -> None:
    """Enough turns of the loop for everything that need not wait."""
    for _ in range(5):
        await asyncio.sleep(0)
