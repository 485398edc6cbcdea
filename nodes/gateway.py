"""A gateway node: connects clients with the bus and the workers."""

import socket
from collections.abc import Callable, Mapping

import zmq

from gateway.drain import drain
from gateway.fanout.delivery_stats import DeliveryStats
from gateway.flow.outbox import Flusher
from gateway.http.application import make_application
from gateway.http.bodies import Bodies
from gateway.http.health import Checks
from gateway.http.listener import Listener
from gateway.http.publish import PublishApi
from gateway.http.server import GatewayServer
from gateway.hub import Hub
from gateway.introspection.topics import LiveTopics
from gateway.introspection.tracing import Tracing
from gateway.joins.worker_links import WorkerLinks
from gateway.transports.registry import make_transports
from gateway.transports.server import Services, TransportServer
from mesh import contexts, telemetry, topics
from mesh.bus import topic_counts, trace_call
from mesh.bus.calls import Answer, Calls, Responder
from mesh.bus.contract import Handlers
from mesh.bus.discovery import placement
from mesh.bus.discovery.announcements import Announcer, NodeHandlers
from mesh.bus.frames import ANNOUNCEMENT, CRASHED_JOINS, ONCE
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.endpoint import Endpoint
from mesh.pubsub import PubSub
from mesh.settings import Settings
from mesh.zeromq.curve import new_context
from nodes import banner, lifecycle, listening, tls
from nodes.admin import AdminServer, health_routes
from nodes.health import Prober
from nodes.metrics import Gauges

CLOSE_SECONDS = 3.0
"""How long clients have to receive their close before the process ends."""


class GatewayNode:
    """One gateway.

    Attributes:
        id: the node's id, new with every start.
        addresses: the URLs of its listeners, once it is started.
        zeromq_address: the address for ZeroMQ clients, or empty.
        transports: its transports, once it is started.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        on_unread: Callable[[bool], None] | None = None,
    ) -> None:
        self.id = lifecycle.new_id("gateway")
        self.addresses: list[str] = []
        self.zeromq_address = ""
        self.endpoint = endpoint
        self.settings = settings
        self._owns_context = context is None
        self._on_unread = on_unread
        self._context: zmq.Context[zmq.Socket[bytes]] = context or new_context(settings.security)
        self.bus: ZeroMQBus | None = None
        self.announcer: Announcer | None = None
        self.workers: WorkerLinks | None = None
        self.hub: Hub | None = None
        self.prober: Prober | None = None
        self.admin: AdminServer | None = None
        self._flusher: Flusher | None = None
        self.transports: list[TransportServer] = []
        self._calls: Calls | None = None
        self._responder: Responder | None = None
        self._traces: Tracing | None = None
        self._server: GatewayServer | None = None
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Connect to the bus, then listen.

        Raises:
            NodeError: if a port is in use.
        """
        settings = self.settings
        contexts.take_base()
        self.endpoint.configure(lifecycle.secret(settings))
        certificate = tls.context(settings.gateway)
        shared, own = self._bind()
        self.bus = bus = ZeroMQBus(self._context, self.id, settings.bus)
        self.announcer = announcer = Announcer(
            bus,
            placement.Announcement(node=self.id, kind="gateway", urls=tuple(self.addresses)),
            settings.bus.announce_seconds,
            settings.bus.node_down_seconds,
        )
        self.hub = Hub(
            self.id,
            bus,
            lambda hub: WorkerLinks(
                hub,
                self._context,
                self.id,
                announcer,
                settings.link,
                settings.gateway.worker_wait_seconds,
                settings.gateway.max_joins_waiting,
                settings.bus.node_down_seconds,
            ),
            settings.gateway,
            settings.link.hold_seconds,
            lambda data: bus.publish_kind(CRASHED_JOINS, topics.JOINS, data=data),
            settings.limits,
        )
        self.workers = links = self.hub.links
        bus.subscribe(topics.exact(topics.JOINS))
        if self._owns_context:  # in an embedded node, the worker does this
            self.endpoint.bind(PubSub(bus, self.hub.local_broadcast))
        self._calls = calls = Calls(bus, announcer.departures.is_gone)
        self._responder = responder = Responder(bus, self._answer_to)
        self._flusher = flusher = Flusher()
        self._traces = Tracing(self.hub.fanout, flusher.flush)
        api = PublishApi(bus, settings.api) if settings.api.keys else None
        announcer.start(
            NodeHandlers(
                up=links.announced,
                down=links.gone,
                lost=None,
                accused=announcer.announce,
                gone=calls.gone,
            )
        )
        bus.start(
            Handlers(
                broadcast=self.hub.on_broadcast,
                messages={
                    **calls.handlers,
                    **responder.handlers,
                    ANNOUNCEMENT: announcer.on_announcement,
                    CRASHED_JOINS: self.hub.join_guard.told,
                    **({ONCE: api.used_elsewhere} if api is not None else {}),
                },
                published=None,
                unread=self._on_unread,
                paths_changed=announcer.paths_changed,
            )
        )
        bodies = Bodies(settings.gateway.max_body_bytes, settings.gateway.max_bodies_bytes)
        services = Services(
            self.id,
            self.hub,
            self.endpoint,
            settings,
            lifecycle.secret(settings),
            calls,
            self._context,
            flusher,
            bodies,
        )
        for transport in make_transports(services):
            self.transports.append(transport)
        self.prober = Prober(bus, announcer, settings.admin.ready_seconds)
        bus.when_subscribed(self.prober.start)
        application = make_application(
            self.endpoint,
            [route for transport in self.transports for route in transport.routes()],
            bodies,
            api,
            health_routes(self.id, "gateway", self.checks),
        )
        if self._owns_context:
            self.admin = AdminServer(
                settings.admin, self.id, "gateway", self.checks, self.gauges, self.routes
            )
        for transport in self.transports:
            transport.start()
        self.zeromq_address = {each.name: each.address for each in self.transports}.get("zeromq", "")
        self._server = GatewayServer(application, settings=settings.gateway, ssl_options=certificate)
        shortcuts = [each.shortcut for each in self.transports if each.shortcut is not None]
        self._listener = Listener(self._server, shortcuts, settings.gateway, certificate)
        self._listener.add_sockets(shared, proxied=settings.gateway.proxy_protocol == "required")
        self._listener.add_sockets(own)
        self._tell("node_started")

    def _answer_to(self, call: str) -> Answer | None:
        """Return what answers a call of this name; the transports have calls of their own."""
        if call == topic_counts.TOPICS and self.hub is not None:
            return LiveTopics(self.hub.fanout).answer
        if call == trace_call.TRACE and self._traces is not None:
            return self._traces.answer
        for transport in self.transports:
            answer = transport.answers().get(call)
            if answer is not None:
                return answer
        return None

    def _tell(self, event: str) -> None:
        telemetry.emit(event, {}, {"node": self.id, "kind": "gateway"})

    async def aclose(self) -> None:
        """Stop listening, close all clients with 1012, announce the end, close the links and the bus."""
        if self.prober is not None:
            self.prober.draining = True
        if self._listener is not None:
            self._listener.close()
        if self._server is not None:
            self._server.stop()
        for transport in self.transports:
            transport.stop_accepting()
        if self.hub is not None:
            await drain(self.hub, self.settings.drain)
        if self._server is not None:
            await self._server.finish(CLOSE_SECONDS)
        if self.hub is not None:
            await drain(self.hub, self.settings.drain)  # WebSockets requested over TLS just before the stop
        for transport in self.transports:
            await transport.aclose(CLOSE_SECONDS)
        if self.announcer is not None:
            self.announcer.close()
        if self.workers is not None:
            self.workers.close()
        if self._calls is not None:
            self._calls.close()
        if self._responder is not None:
            self._responder.close()
        if self._traces is not None:
            self._traces.close()
        if self.admin is not None:
            self.admin.close()
        if self.prober is not None:
            self.prober.close()
        if self.hub is not None:
            self.hub.close()
        if self.bus is not None:
            self.bus.close()
        if self._owns_context:
            self.endpoint.bind(None)
            self._context.term()
        self._tell("node_stopped")

    def checks(self) -> Checks:
        """Return the checks of `/readyz`: the bus, a worker for every route, broadcasts of all workers."""
        assert self.prober is not None
        assert self.workers is not None
        missing = [
            route.pattern
            for path, mount in self.endpoint.mounts.items()
            for route in mount.routes.routes
            if not self.workers.serves(path, route.pattern)
        ]
        unheard = self.workers.unheard()
        problem = f"no worker for {', '.join(missing)}" if missing else None
        silent = f"linked, but not heard on the bus: {', '.join(unheard)}" if unheard else None
        return {**self.prober.checks(), "workers": problem, "broadcasts": silent}

    def gauges(self) -> Gauges:
        """Return the values for `/metrics`."""
        assert self.hub is not None
        assert self.bus is not None
        assert self.workers is not None
        assert self.prober is not None
        clients, channels, topics = self.hub.counts()
        bus = self.bus.status()
        return {
            "open_connections": clients,
            "open_channels": channels,
            "topics": topics,
            "unsent_bytes": self.hub.unsent_bytes(),
            "readers_paused": self.hub.read_pauses.counts(),
            "link_queue_bytes": self.workers.waiting_bytes,
            "links": self.workers.links,
            "bus_connected": int(bus.connected),
            "bus_backlog_messages": bus.waiting,
            "loop_lag_seconds": self.prober.lag_seconds,
        }

    def routes(self) -> Mapping[str, DeliveryStats]:
        """Return the delivery statistics of broadcasts, by route, after flushing all outboxes."""
        assert self.hub is not None
        if self._flusher is not None:
            self._flusher.flush()
        return self.hub.fanout.routes

    def _bind(self) -> tuple[list[socket.socket], list[socket.socket]]:
        """Listen; return (sockets of the port, sockets of this gateway's own port)."""
        gateway = self.settings.gateway
        shared = listening.listen(gateway.host, gateway.port, reuse_port=gateway.reuse_port)
        own: list[socket.socket] = []
        if gateway.own_port is not None:
            own = listening.listen(gateway.host, gateway.own_port, reuse_port=gateway.reuse_port)
        ports = dict.fromkeys(each.getsockname()[1] for each in shared + own)
        scheme = "https" if gateway.tls_certificate is not None else "http"
        self.addresses = [listening.url(scheme, host, port) for port in ports for host in gateway.host]
        return shared, own


def run(endpoint: Endpoint, settings: Settings, app_spec: str) -> None:
    """Run a gateway until SIGINT or SIGTERM."""

    def started(node: lifecycle.Node) -> None:
        assert isinstance(node, GatewayNode)
        rows = [("listening", address) for address in node.addresses]
        rows += [("zeromq", node.zeromq_address)] if node.zeromq_address else []
        rows += [("proxy", address) for address in settings.bus.proxies]
        rows += [("admin", node.admin.address)] if node.admin and node.admin.address else []
        banner.show("gateway", app_spec, rows)

    lifecycle.run(lambda: GatewayNode(endpoint, settings), started, settings)


if __name__ == "__main__":
    from nodes.cli import run_command

    run_command("gateway")
