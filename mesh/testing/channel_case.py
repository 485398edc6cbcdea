"""ChannelCase: an endpoint's sockets and channels, run in a plain test function.

The channels run in the real worker code (mesh/worker) over a bus in memory; only the gateway and the
network are left out. Payloads are actually encoded, so a payload that could not be sent fails in the test.
Source: Phoenix.ChannelTest.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

import msgspec

from mesh import contexts
from mesh.app import topics
from mesh.app.endpoint import Endpoint
from mesh.app.mount import Mount
from mesh.app.pubsub import PubSub
from mesh.app.replies import Reply
from mesh.app.socket_handler import ConnectInfo, SocketHandler
from mesh.bus.contract import Handlers
from mesh.errors import ApplicationError, MeshError, TopicError
from mesh.protocol import payloads
from mesh.protocol.messages import MSGPACK, Broadcast
from mesh.protocol.serializers.registry import BY_NAME, TEXT_TRANSPORTS
from mesh.settings import build
from mesh.testing.clients import KILL_SECONDS, TestSocket
from mesh.testing.failures import fail
from mesh.testing.lone_recorder import lone_recorder
from mesh.testing.matching import ANY, take
from mesh.testing.memory_bus import ObservedBus
from mesh.testing.memory_gateway import MemoryGateway
from mesh.testing.stepped_loop import SteppedLoop
from mesh.worker.channels import Channels
from mesh.worker.presence.registry import PresenceRegistry

SECRET = "the secret of channel tests"  # noqa: S105
ASSERT_SECONDS = 0.1
CONNECT_SECONDS = 5.0

Result = TypeVar("Result")


class ConnectRefused(MeshError):  # noqa: N818  (an outcome, not an error of the test)
    """`connect` refused the connection; `returned` is its result."""

    def __init__(self, message: str, returned: Any = None) -> None:
        super().__init__(message)
        self.returned = returned


class ChannelCase:
    """The worker of one test.

    Of the settings only those in code apply, `Endpoint(settings=…)`; background tasks do not run.

    Args:
        endpoint: the application.
        assert_seconds: how long an assertion waits for callbacks that wait for something; callbacks that
            are ready are run to their end in any case.

    Raises:
        ApplicationError: if `endpoint` is not an Endpoint, or this is not called in a plain function.
    """

    def __init__(self, endpoint: Endpoint, assert_seconds: float = ASSERT_SECONDS) -> None:
        if not isinstance(endpoint, Endpoint):
            raise ApplicationError(f"a channel case tests an Endpoint, not {endpoint!r}")
        self.endpoint = endpoint
        self.assert_seconds = assert_seconds
        self.bus = ObservedBus()
        self.numbers = count(1)
        self._loop = SteppedLoop()
        try:
            self.gateway = self._loop.call(self._start)
        except BaseException:
            self._loop.close()
            raise
        self._channels = self.gateway.channels
        self._presences = self._channels.presences

    def _start(self) -> MemoryGateway:
        gateway = MemoryGateway(self._make_channels)
        channels = gateway.channels
        self.bus.start(
            Handlers(
                broadcast=gateway.broadcast,
                recorded=gateway.recorded,
                keeps=channels.kept.keeps,
                messages={},
                published=channels.members.published,
                unread=None,
                paths_changed=None,
            )
        )
        contexts.set_base()
        self.endpoint.configure(SECRET)
        publish = channels.recorder.publish
        self.endpoint.bind(PubSub(self.bus, self._local_broadcast, channels.histories, publish))
        channels.presences.start()
        return gateway

    def _make_channels(self, gateway: MemoryGateway) -> Channels:
        bus, own = self.bus, self.endpoint.settings
        worker = {"kill_seconds": KILL_SECONDS, **own.get("worker", {})}
        settings = build({"worker": worker, "presence": own.get("presence", {})})
        return Channels(
            self.endpoint,
            bus,
            gateway.on_command,
            settings.worker,
            make_presences=lambda _: PresenceRegistry.of(
                self.endpoint.presences,
                bus.node,
                bus.publish_kind,
                settings.presence,
                self._local_broadcast,
            ),
            recorder=lone_recorder(bus, self.endpoint),
        )

    def close(self) -> None:
        """End all channels; the fixture calls it."""
        if self._loop.closed:
            return
        try:
            self._loop.call(self._disconnect_all)
            try:
                self.settle(None)
            except AssertionError:
                pass  # callbacks that do not end: they are killed next
            self.run(self._channels.aclose())
            self._loop.call(self._presences.close)
        finally:
            self.bus.close()
            self.endpoint.bind(None)
            self._loop.close()

    def _disconnect_all(self) -> None:
        for client in list(self.gateway.clients):
            client.on_disconnected("closed")

    # Sockets

    def connect(
        self,
        params: Mapping[str, Any] | None = None,
        *,
        path: str | None = None,
        info: ConnectInfo | None = None,
        transport: str | None = None,
        serializer: str = "v2_json",
    ) -> TestSocket:
        """Call the handler's `connect` and `id`.

        Args:
            params: the parameters as a client sends them: strings, and objects of strings.
            path: the path of the mount; may be left out if there is only one. For a mount at
                "/socket/:tenant", "/socket/acme" passes the parameter to `connect`.
            info: the information about the request that `connect` receives.
            transport: "websocket" (unless `info` says otherwise), "longpoll" or "zeromq".
            serializer: "v2_json", "v2_msgpack", or "v1_json", e.g. to test what its clients cannot receive.

        Raises:
            ConnectRefused: if `connect` refuses, or the socket's id or assigns are invalid.
            ApplicationError: if there is no such mount, transport or serializer.
        """
        mount, path_params = self._mount(path)
        info = info or ConnectInfo("websocket")
        known = replace(info, transport=transport or info.transport, extra=info.extra or mount.connect_info)
        _check_client(mount, known.transport, serializer)
        context = contexts.fresh()
        handler = context.run(mount.handler)
        given = {**(params or {}), **path_params}
        name = mount.handler.__name__
        result = self.run(
            _with_time_limit(lambda: contexts.call(context, handler.connect, given, known), name)
        )
        if result is False or (isinstance(result, Reply) and result.status == "error"):
            raise ConnectRefused(f"{name}.connect refused {given!r}", result)
        if result is not None and result is not True:
            raise ConnectRefused(
                f"{name}.connect returned {result!r}; expected None, True, False or refuse()", result
            )
        return self._socket(mount, handler, context.run(handler.id), known.transport, serializer)

    def socket(
        self,
        path: str | None = None,
        *,
        id: str | None = None,
        assigns: Mapping[str, Any] | None = None,
        transport: str = "websocket",
        serializer: str = "v2_json",
    ) -> TestSocket:
        """Return a socket with these assigns, without calling `connect`. Raises as `connect`."""
        mount, _ = self._mount(path)
        _check_client(mount, transport, serializer)
        handler = contexts.fresh().run(mount.handler)
        handler.assigns.update(assigns or {})
        return self._socket(mount, handler, id, transport, serializer)

    def _socket(
        self, mount: Mount, handler: SocketHandler, id: str | None, transport: str, serializer: str
    ) -> TestSocket:
        try:
            socket_id = None if id is None else topics.check(id)
            packed = msgspec.msgpack.encode(handler.assigns)
        except (TopicError, TypeError, ValueError, msgspec.MsgspecError) as error:
            raise ConnectRefused(f"the socket's id or assigns are invalid: {error}") from error
        return TestSocket(self, mount, socket_id, packed, transport, serializer)

    def _mount(self, path: str | None) -> tuple[Mount, dict[str, str]]:
        mounts = self.endpoint.mounts
        if path is None and len(mounts) == 1:
            return next(iter(mounts.values())), {}
        if path is not None:
            if path in mounts:
                return mounts[path], {}
            for mount in mounts.values():
                if match := mount.pattern.fullmatch(path):
                    return mount, match.groupdict()
        raise ApplicationError(f"no socket is mounted at {path!r}; pass path= one of {sorted(mounts)}")

    # Broadcasts

    def subscribe(self, topic: str) -> None:
        """Let `assert_broadcast` see the broadcasts on `topic` from now on."""
        self.bus.observe(topic)

    def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Broadcast as from another part of the application."""
        self.do(lambda: self.endpoint.broadcast(topic, event, payload))

    def assert_broadcast(
        self,
        event: str,
        payload: Any = ANY,
        *,
        topic: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Assert that this was broadcast on a topic subscribed to; return the payload."""
        broadcasts = self.bus.broadcasts
        wanted = _broadcast(event, payload, topic)
        found = self.wait(lambda: take(broadcasts, wanted), timeout_seconds)
        if found is None:
            where = "" if topic is None else f" on {topic!r}"
            seen = [(each.topic, each.event, each.payload) for each in broadcasts]
            fail(f"no broadcast {event!r} with {payload!r}{where}", "broadcasts", seen, self)
        return found.payload

    def refute_broadcast(
        self,
        event: str,
        payload: Any = ANY,
        *,
        topic: str | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Assert that nothing like this is broadcast."""
        self.settle(timeout_seconds)
        found = take(self.bus.broadcasts, _broadcast(event, payload, topic), keep=True)
        if found is not None:
            raise AssertionError(f"{event!r} was broadcast on {found.topic!r} with {found.payload!r}")

    def _local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        self._channels.members.local_broadcast(topic, event, payload)
        self.bus.record(topic, event, *payloads.encode_object(payload))

    # The event loop

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run one of the test's own coroutines in the case's event loop."""
        return self._loop.run(coroutine)

    def do(self, what: Callable[[], Any]) -> None:
        """Call a function in the event loop, and run what it started."""
        self._loop.call(what)
        self._loop.step()

    def settle(self, timeout_seconds: float | None) -> None:
        """Run everything that can run; if callbacks still wait, wait for them for at most this long."""
        deadline = self._deadline(timeout_seconds)
        self._loop.step()
        while self.busy() and time.monotonic() < deadline:
            self._loop.step(deadline)

    def wait(self, found: Callable[[], Result | None], timeout_seconds: float | None) -> Result | None:
        """Run until `found` returns something, for at most this long."""
        deadline = self._deadline(timeout_seconds)
        self._loop.step()
        while (result := found()) is None:
            if time.monotonic() >= deadline:
                self._loop.step()  # on a busy machine, something that was due may not have run in time
                return found()
            self._loop.step(deadline)
        return result

    def busy(self) -> bool:
        """Whether anything is in progress that may still have an effect."""
        if self._channels.busy() or self._presences.busy:
            return True
        return any(not self._channels.runners.owns(task) for task in self._loop.tasks())

    def _deadline(self, timeout_seconds: float | None) -> float:
        return time.monotonic() + (self.assert_seconds if timeout_seconds is None else timeout_seconds)


def _check_client(mount: Mount, transport: str, serializer: str) -> None:
    offered = [name for name in ("websocket", "longpoll", "zeromq") if getattr(mount, name)]
    if transport not in offered:
        raise ApplicationError(f"{mount.path!r} has no transport {transport!r}, but {offered}")
    if serializer not in BY_NAME:
        raise ApplicationError(f"there is no serializer {serializer!r}; want one of {sorted(BY_NAME)}")
    if transport in TEXT_TRANSPORTS and BY_NAME[serializer].codec == MSGPACK:
        raise ApplicationError(f"{transport} cannot carry {serializer}; use v2_json or v1_json")


def _broadcast(event: str, payload: Any, topic: str | None) -> Callable[[Broadcast], bool]:
    return lambda each: bool(
        each.event == event and topic in (None, each.topic) and payload == each.payload
    )


async def _with_time_limit(call: Callable[[], Any], name: str) -> Any:
    result = call()
    if not hasattr(result, "__await__"):
        return result
    try:
        async with asyncio.timeout(CONNECT_SECONDS) as limit:
            return await result
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(f"{name}.connect took over {CONNECT_SECONDS:g} seconds") from None
