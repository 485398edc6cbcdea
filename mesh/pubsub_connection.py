"""`mesh.connect`: PubSub for a program that is not a node, e.g. a script, a cron job, a Django view.

It uses the bus as a node does, but serves no clients and does not announce itself.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Self

import zmq

from mesh import contexts
from mesh.app import topics
from mesh.app.history import LIST_LIMIT, KeptBroadcast
from mesh.app.pubsub import MAX_QUEUED, PubSub, Subscription
from mesh.bus import delivery, topic_counts
from mesh.bus.calls import Calls
from mesh.bus.contract import Bus, Handlers
from mesh.bus.discovery.placement import Announcement, Placement, decode
from mesh.bus.frames import ANNOUNCEMENT, Header
from mesh.bus.topic_counts import MAX_TOPICS, TOPICS, GatewayTopics, Question
from mesh.bus.trace_call import MAX_COUNT, Trace
from mesh.bus.tracer import Tracer
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.errors import UnreachableError, WireError
from mesh.history.reader import HistoryReader
from mesh.history.workers import WorkersByPattern
from mesh.protocol.messages import DISCONNECT
from mesh.settings import load
from mesh.telemetry import log_to_logging
from mesh.zeromq.curve import new_context

TIMEOUT_SECONDS = 5.0
SETTLED_ANNOUNCEMENTS = 1.5
"""After this many intervals of announcements, every live node has announced itself."""


def connect(*proxies: str, timeout_seconds: float = TIMEOUT_SECONDS) -> "Connection":
    """Connect to the mesh from a program that is not a node.

        async with mesh.connect("tcp://127.0.0.1:5550") as pubsub:
            await pubsub.broadcast("room:1", "new_msg", {"body": "good morning"})

    Args:
        proxies: the addresses of all proxies; by default those of the settings (MESH_BUS__PROXIES,
            mesh.toml).
        timeout_seconds: how long to wait for a proxy's answer, on connecting and on each broadcast.

    Raises:
        SettingsError: for an invalid address or setting.
    """
    return Connection(proxies, timeout_seconds)


class Connection:
    """What `mesh.connect` returns; use it with `async with`.

    Entering it raises UnreachableError if no proxy answers.
    """

    def __init__(self, proxies: tuple[str, ...], timeout_seconds: float) -> None:
        flags = {"bus": {"proxies": list(proxies) or None}}
        self._settings = load(flags=flags)
        self._timeout_seconds = timeout_seconds
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._bus: Bus | None = None
        self._calls: Calls | None = None
        self._histories: HistoryReader | None = None
        self._heard = Placement()
        self._placement = Placement()
        self._first_heard = 0.0

    async def __aenter__(self) -> Self:
        """Connect; return when a proxy has answered, and slower ones have had a moment to answer.

        Raises:
            UnreachableError: if none answers in time.
        """
        if self._context is not None:
            raise UnreachableError("this connection is already open; make another one with mesh.connect")
        log_to_logging()
        self._context = context = new_context(self._settings.security)
        try:
            # A web application may open it within a request, but it serves all requests.
            contexts.fresh().run(self._start, context)
            await delivery.wait_until_connected(self._require_bus(), self._timeout_seconds)
        except BaseException:
            await self._close()
            raise
        return self

    def _start(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        node = f"script-{secrets.token_hex(8)}"
        bus = self._bus = ZeroMQBus(context, node, self._settings.bus, self._timeout_seconds)
        calls = self._calls = Calls(bus, None)
        workers = WorkersByPattern(self._live_nodes, self._settled)
        self._histories = HistoryReader(calls, workers, self._settings.history.wait_seconds)
        bus.subscribe(topics.exact(topics.NODES))
        bus.start(
            Handlers(
                broadcast=None,
                recorded=None,
                keeps=None,
                messages={**calls.handlers, ANNOUNCEMENT: self._on_announcement},
                published=None,
                unread=None,
                paths_changed=None,
            )
        )

    async def __aexit__(self, *exception: object) -> None:
        """Disconnect. Every loop over a subscription ends."""
        await self._close()

    async def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send `event` to every subscriber of `topic`, on every node.

        Returns when a proxy has accepted it: a program that exits afterwards loses nothing.

        Raises:
            UnreachableError: if no proxy confirms it in time; the message says whether anything was sent.
            TopicError: if `topic` starts with `$` or contains NUL.
            PayloadError: if the payload is neither an object nor bytes.
            ChannelError: if `event` is not a string.
        """
        bus = self._require_bus()
        pubsub = PubSub(bus)
        await self._publish_and_confirm(lambda: pubsub.broadcast(topic, event, payload))

    async def direct_broadcast(self, node_id: str, topic: str, event: str, payload: Any) -> None:
        """As `broadcast`, to the subscribers on one node only (`PubSub.direct_broadcast`)."""
        pubsub = PubSub(self._require_bus())
        await self._publish_and_confirm(lambda: pubsub.direct_broadcast(node_id, topic, event, payload))

    async def disconnect(self, socket_id: str) -> None:
        """Close every socket with this id; the clients may reconnect. Raises as `broadcast`."""
        await self.broadcast(socket_id, DISCONNECT, {})

    def subscribe(self, topic: str, max_queued: int = MAX_QUEUED) -> Subscription:
        """Return the broadcasts on `topic`, or on all topics with a prefix (`room:*`).

            async with pubsub.subscribe("room:*") as broadcasts:
                async for broadcast in broadcasts:
                    print(broadcast.topic, broadcast.event, broadcast.payload)

        Once entered, none is missed; a loop over `pubsub.subscribe("room:1")` enters it automatically.
        Broadcasts that are not read in time are dropped when more than `max_queued` wait, the oldest first,
        and counted in `dropped`. Entering raises UnreachableError if no proxy answers.

        Raises:
            TopicError: if the topic starts with `$`, or has a `*` that is not at its end.
        """
        return PubSub(self._require_bus()).subscribe(topic, max_queued)

    async def history(
        self, topic: str, limit: int = LIST_LIMIT, before: int | None = None
    ) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of a topic, the oldest of them first.

        Waits for an announcement of a worker that can record the topic if none is known yet.

        Args:
            topic: a topic whose Channel class has a `history`.
            limit: the most broadcasts to return.
            before: return only broadcasts with a smaller offset, to page backwards; None for the newest.

        Raises:
            HistoryUnavailableError: if the history cannot be read within `history.wait_seconds`.
            ChannelError: if the topic has no history, or for an invalid `limit` or `before`.
            TopicError: if `topic` starts with `$` or contains NUL.
        """
        return await self._pubsub_with_histories().history(topic, limit, before)

    async def forget(self, topic: str) -> None:
        """Remove the history of a topic, which begins a new epoch. Raises as `history`."""
        await self._pubsub_with_histories().forget(topic)

    async def nodes(self, seconds: float) -> list[Announcement]:
        """Return the nodes that announce themselves within `seconds`; by default each does every second."""
        self._require_bus()
        self._heard = Placement()
        await asyncio.sleep(seconds)
        return self._heard.nodes()

    async def topics(self, pattern: str, seconds: float, limit: int = MAX_TOPICS) -> list[GatewayTopics]:
        """Return the live topics of every gateway that announces itself within `seconds`.

        Args:
            pattern: a topic, or a prefix followed by `*`.
            seconds: how long to look for gateways, and then to wait for their answers.
            limit: the most topics of one gateway, those with the most members; at most 1,000.

        Raises:
            TopicError: if the topic starts with `$`, or has a `*` that is not at its end.
        """
        topics.check_pattern(pattern)
        question = Question(pattern.removesuffix("*"), not pattern.endswith("*"), limit)
        gateways = [each.node for each in await self.nodes(seconds) if each.kind == "gateway"]
        calls = self._require_calls()

        async def ask(gateway: str) -> GatewayTopics:
            try:
                data = await calls.call(gateway, TOPICS, topic_counts.encode(question), seconds)
                return GatewayTopics(gateway, topic_counts.decode_answer(data))
            except (TimeoutError, WireError):
                return GatewayTopics(gateway, None)

        return await asyncio.gather(*map(ask, gateways))

    async def trace(
        self,
        topic: str,
        find_seconds: float,
        seconds: float,
        count: int = 1,
        publish: tuple[str, Any] | None = None,
    ) -> Trace:
        """Trace the next messages on a topic at every gateway that announces itself.

        Args:
            topic: the topic to trace.
            find_seconds: how long to look for gateways, and to wait for each of their answers.
            seconds: how long to wait for the messages and their delivery.
            count: the number of messages, at most 100.
            publish: (event, payload) to publish `count` times; by default other nodes' messages are
                awaited.

        Raises:
            TopicError, PayloadError, ChannelError, UnreachableError: as `broadcast`.
        """
        topics.check(topic)
        gateways = [each.node for each in await self.nodes(find_seconds) if each.kind == "gateway"]
        return await Tracer(self._require_bus(), self._require_calls(), gateways, find_seconds).follow(
            topic, seconds, min(count, MAX_COUNT), publish, self._publish_and_confirm
        )

    @property
    def node_id(self) -> str:
        """The id of this connection, to which `direct_broadcast` can be addressed."""
        return self._require_bus().node

    def _on_announcement(self, _header: Header, data: bytes) -> None:
        try:
            announcement = decode(data)
        except WireError:
            return  # not an announcement of this version
        if announcement.state == "lost":
            return  # a report by another node, which may be wrong
        paths = self._require_bus().paths
        if announcement.state == "down":
            self._heard.forget(announcement.node)
            self._placement.forget(announcement.node)
            self._require_calls().fail_calls_to(announcement.node)
            paths.node_gone(announcement.node)
        else:
            now = asyncio.get_running_loop().time()
            if not self._placement.nodes():
                self._first_heard = now
            self._heard.record(announcement, now)
            self._placement.record(announcement, now)
            paths.node_announced(announcement)

    def _live_nodes(self) -> list[Announcement]:
        now = asyncio.get_running_loop().time()
        self._placement.expire(now, self._settings.bus.node_down_seconds)
        return self._placement.nodes()

    def _settled(self) -> bool:
        """Return whether every live node has had the time to announce itself."""
        heard_for = asyncio.get_running_loop().time() - self._first_heard
        return heard_for > SETTLED_ANNOUNCEMENTS * self._settings.bus.announce_seconds

    def _pubsub_with_histories(self) -> PubSub:
        return PubSub(self._require_bus(), histories=self._histories)

    def _require_calls(self) -> Calls:
        self._require_bus()
        assert self._calls is not None
        return self._calls

    def _require_bus(self) -> Bus:
        if self._bus is None:
            raise UnreachableError("not connected; use `async with mesh.connect(…) as pubsub:`")
        return self._bus

    async def _publish_and_confirm(self, publish: Callable[[], object]) -> None:
        await delivery.publish_and_confirm(self._require_bus(), publish, self._timeout_seconds)

    async def _close(self) -> None:
        bus, context, calls = self._bus, self._context, self._calls
        self._bus = self._context = self._calls = self._histories = None
        if calls is not None:
            calls.close()
        if bus is not None:
            bus.close()
        if context is not None:
            # It waits until everything is sent (LINGER), so it must not run in the event loop.
            await asyncio.shield(asyncio.to_thread(context.term))
