"""A gateway node: connects clients with the bus and the workers."""

import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import zmq

from mesh.app import topics
from mesh.app.endpoint import Endpoint
from mesh.app.pubsub import PubSub
from mesh.bus import topic_counts, trace_call
from mesh.bus.calls import CallHandler, Calls, Responder
from mesh.bus.contract import Handlers, OnMessage
from mesh.bus.discovery.announcements import NodeHandlers
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import ANNOUNCEMENT, CRASHED_JOINS, ONCE
from mesh.gateway.drain import drain
from mesh.gateway.fanout.delivery_stats import DeliveryStats
from mesh.gateway.flow.outbox import Flusher
from mesh.gateway.http import api
from mesh.gateway.http.application import make_application
from mesh.gateway.http.bodies import Bodies
from mesh.gateway.http.health import health_routes
from mesh.gateway.http.listener import Listener
from mesh.gateway.http.publish import PublishApi
from mesh.gateway.http.server import GatewayServer
from mesh.gateway.hub import Hub
from mesh.gateway.introspection.topics import LiveTopics
from mesh.gateway.introspection.tracing import Tracing
from mesh.gateway.joins.worker_links import WorkerLinks
from mesh.gateway.transports.registry import make_transports
from mesh.gateway.transports.server import Services, TransportServer
from mesh.history.reader import HistoryReader
from mesh.history.workers import WorkersByRoute
from mesh.nodes import banner, tls
from mesh.nodes.admin import AdminServer
from mesh.nodes.health import Checks
from mesh.nodes.listening import ClientSockets
from mesh.nodes.mesh_node import Membership, MeshNode
from mesh.nodes.metrics import Gauges
from mesh.nodes.runtime import lifecycle
from mesh.settings import Settings

CLOSE_SECONDS = 3.0
"""How long clients have to receive their close before the process ends."""


@dataclass(frozen=True)
class Embedding:
    """What a gateway has in common with the worker of the same process (nodes/embedded.py).

    Attributes:
        context: the ZeroMQ context of all nodes.
        on_unread: called when the gateway has more to read from the bus than it could handle yet, or no
            longer.
        gauges: the worker's values for `/metrics`.
    """

    context: zmq.Context[zmq.Socket[bytes]]
    on_unread: Callable[[bool], None]
    gauges: Callable[[], Gauges]


class GatewayNode:
    """One gateway; `start` makes it.

    Args:
        stack: stops the gateway.
        node: the node's bus.
        endpoint: the application.
        addresses: the URLs of its listeners.
        embedding: in an embedded node, what the gateway has in common with the worker.

    Attributes:
        id: the node's id, new with every start.
        addresses: the URLs of its listeners.
        hub: has its clients.
        workers: its links to the workers.
        transports: its transports, in the order in which they were started.
        admin: the operators' port.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        node: MeshNode,
        endpoint: Endpoint,
        addresses: list[str],
        embedding: Embedding | None,
    ) -> None:
        settings, bus = node.settings, node.bus
        self.id = node.id
        self.addresses = addresses
        self.endpoint = endpoint
        self.settings = settings
        self.bus = bus
        self._node = node
        self._embedding = embedding
        announcement = Announcement(node=node.id, kind="gateway", urls=tuple(addresses))
        self._membership = Membership(stack, node, announcement)
        self.hub = Hub(
            node.id,
            bus,
            self._make_links,
            settings.gateway,
            settings.link.hold_seconds,
            lambda data: bus.publish_kind(CRASHED_JOINS, topics.JOINS, data=data),
            settings.limits,
            endpoint.kept_topics,
        )
        self.workers = self.hub.links
        self._flusher = Flusher()
        self._traces = Tracing(self.hub.fanout, self._flusher.flush)
        self._calls = Calls(bus, self._membership.announcer.departures.is_gone)
        self._responder = Responder(bus, self._answer_to)
        recorders = WorkersByRoute(endpoint.kept_topics, self._membership.announcer.placement.nodes)
        self._histories = HistoryReader(self._calls, recorders, settings.history.wait_seconds)
        self._bodies = Bodies(settings.gateway.max_body_bytes, settings.gateway.max_bodies_bytes)
        self._api = PublishApi(bus, settings.api) if settings.api.keys else None
        self.transports: list[TransportServer] = []
        kind = "gateway" if embedding is None else "embedded"
        self.admin = AdminServer(settings.admin, node.id, kind, self.checks, self.gauges, self.routes)

    @classmethod
    async def start(
        cls,
        stack: AsyncExitStack,
        endpoint: Endpoint,
        settings: Settings,
        embedding: Embedding | None = None,
    ) -> "GatewayNode":
        """Connect to the bus, then listen.

        Args:
            stack: stops the gateway.
            endpoint: the application.
            settings: all settings.
            embedding: in an embedded node, what the gateway has in common with the worker.

        Raises:
            NodeError: if a port is in use.
        """
        context = embedding.context if embedding is not None else None
        node = MeshNode(stack, "gateway", endpoint, settings, context)
        certificate = tls.context(settings.gateway)
        sockets = ClientSockets(stack, settings.gateway)
        gateway = cls(stack, node, endpoint, sockets.urls, embedding)
        gateway._start(stack)
        gateway._accept(stack, sockets, certificate)
        node.emit("node_started")
        return gateway

    def _make_links(self, hub: Hub) -> WorkerLinks:
        settings = self.settings
        return WorkerLinks(
            hub,
            self._node.context,
            self.id,
            self._membership.announcer,
            settings.link,
            settings.gateway.worker_wait_seconds,
            settings.gateway.max_joins_waiting,
            settings.bus.node_down_seconds,
        )

    def _start(self, stack: AsyncExitStack) -> None:
        """Start all but the clients' side. The stack undoes it from the last line to the first."""
        if not self._node.embedded:  # in an embedded node, the worker does this
            self.endpoint.bind(PubSub(self.bus, self.hub.local_broadcast, self._histories))
            stack.callback(self.endpoint.bind, None)
        stack.callback(self.hub.close)
        self.admin.start()
        stack.callback(self.admin.close)
        stack.callback(self._traces.close)
        stack.callback(self._responder.close)
        stack.callback(self._calls.close)
        stack.callback(self.workers.close)
        self.bus.subscribe(topics.exact(topics.JOINS))
        self._membership.start(stack, self._node_handlers(), self._handlers())

    def _node_handlers(self) -> NodeHandlers:
        return NodeHandlers(
            up=self._node_up,
            down=self.workers.gone,
            lost=None,
            reported_lost=self._membership.announcer.announce,
            gone=self._calls.fail_calls_to,
        )

    def _node_up(self, announcement: Announcement) -> None:
        self.hub.recorders.announced(announcement)
        self.workers.announced(announcement)

    def _handlers(self) -> Handlers:
        announcer = self._membership.announcer
        messages: dict[int, OnMessage] = {
            **self._calls.handlers,
            **self._responder.handlers,
            ANNOUNCEMENT: announcer.on_announcement,
            CRASHED_JOINS: self.hub.join_guard.on_topic_refused_elsewhere,
        }
        if self._api is not None:
            messages[ONCE] = self._api.used_elsewhere
        return Handlers(
            broadcast=self.hub.on_broadcast,
            recorded=self.hub.on_recorded,
            keeps=self.endpoint.kept_topics.keeps,
            messages=messages,
            published=None,
            unread=self._embedding.on_unread if self._embedding is not None else None,
            paths_changed=announcer.paths_changed,
        )

    def _services(self) -> Services:
        return Services(
            self.id,
            self.hub,
            self.endpoint,
            self.settings,
            self._node.secret,
            self._calls,
            self._node.context,
            self._flusher,
            self._bodies,
        )

    def _answer_to(self, call: str) -> CallHandler | None:
        """Return what answers a call of this name; the transports have calls of their own."""
        if call == topic_counts.TOPICS:
            return LiveTopics(self.hub.fanout).answer
        if call == trace_call.TRACE:
            return self._traces.answer
        for transport in self.transports:
            answer = transport.answers().get(call)
            if answer is not None:
                return answer
        return None

    # The clients' side

    def _accept(
        self, stack: AsyncExitStack, sockets: ClientSockets, certificate: ssl.SSLContext | None
    ) -> None:
        """Accept clients, over the transports and from these listening sockets."""
        gateway = self.settings.gateway
        stack.push_async_callback(self._close_transports)
        for transport in make_transports(self._services()):
            self.transports.append(transport)
        application = make_application(
            self.endpoint,
            [route for transport in self.transports for route in transport.routes()],
            self._bodies,
            api.routes(self._api, self._histories, self.endpoint, self._bodies),
            health_routes(self.id, "gateway", self.checks),
        )
        server = GatewayServer(application, settings=gateway, ssl_options=certificate)
        shortcuts = [each.shortcut for each in self.transports if each.shortcut is not None]
        listener = Listener(server, shortcuts, gateway, certificate)
        stack.push_async_callback(self._close_clients, listener, server)
        for transport in self.transports:
            transport.start()
        listener.add_sockets(sockets.shared, proxied=gateway.proxy_protocol == "required")
        listener.add_sockets(sockets.own)

    async def _close_clients(self, listener: Listener, server: GatewayServer) -> None:
        """Stop listening, answer the requests in progress, and close all clients with 1012."""
        self._membership.prober.drain()
        listener.close()
        server.stop()
        for transport in self.transports:
            transport.stop_accepting()
        await drain(self.hub, self.settings.drain)
        await server.finish(CLOSE_SECONDS)
        await drain(self.hub, self.settings.drain)  # WebSockets requested over TLS just before the stop

    async def _close_transports(self) -> None:
        for transport in self.transports:
            await transport.aclose(CLOSE_SECONDS)

    # Status

    @property
    def zeromq_address(self) -> str:
        """The address for ZeroMQ clients; empty if there is none."""
        return {each.name: each.address for each in self.transports}.get("zeromq", "")

    def checks(self) -> Checks:
        """Return the checks of `/readyz`: the bus, a worker for every route, broadcasts of all workers."""
        missing = [
            route.pattern
            for path, mount in self.endpoint.mounts.items()
            for route in mount.routes.routes
            if not self.workers.serves(path, route.pattern)
        ]
        unheard = self.workers.unheard()
        problem = f"no worker for {', '.join(missing)}" if missing else None
        unheard_problem = f"linked, but not heard on the bus: {', '.join(unheard)}" if unheard else None
        return {**self._membership.prober.checks(), "workers": problem, "broadcasts": unheard_problem}

    def gauges(self) -> Gauges:
        """Return the values for `/metrics`; in an embedded node also those that only the worker has."""
        clients, channels, topics = self.hub.counts()
        return {
            **(self._embedding.gauges() if self._embedding is not None else {}),
            "open_connections": clients,
            "open_channels": channels,
            "topics": topics,
            "unsent_bytes": self.hub.unsent_bytes(),
            "readers_paused": self.hub.read_pauses.counts(),
            "link_queue_bytes": self.workers.waiting_bytes,
            "links": self.workers.links,
            **self._membership.gauges(),
        }

    def routes(self) -> Mapping[str, DeliveryStats]:
        """Return the delivery statistics of broadcasts, by route, after flushing all outboxes."""
        self._flusher.flush()
        return self.hub.fanout.routes


def run(endpoint: Endpoint, settings: Settings, app_spec: str) -> None:
    """Run a gateway until SIGINT or SIGTERM."""

    def started(node: GatewayNode) -> None:
        rows = [("listening", address) for address in node.addresses]
        rows.append(("zeromq", node.zeromq_address))
        rows += [("proxy", address) for address in settings.bus.proxies]
        rows.append(("admin", node.admin.address))
        banner.show("gateway", app_spec, rows)

    lifecycle.run(lambda stack: GatewayNode.start(stack, endpoint, settings), started, settings)
