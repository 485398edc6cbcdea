"""A gateway: clients on one side, the bus and the workers on the other."""

import socket
from collections.abc import Mapping

import zmq

from gateway.drain import drain
from gateway.http.application import handshakes, make_application
from gateway.http.forwarded import TrustedProxies
from gateway.http.health import Checks
from gateway.http.publish import PublishApi
from gateway.http.server import GatewayServer
from gateway.hub import Hub
from gateway.join_guard import JoinGuard
from gateway.ledger import Tally
from gateway.live_topics import LiveTopics
from gateway.trace import Traces
from gateway.transports.connection import WebSockets
from gateway.transports.door import Door
from gateway.transports.longpoll import LongPoll
from gateway.transports.longpoll_sessions import LongPollSessions
from gateway.transports.zeromq import ZeroMQClients
from gateway.workers import Workers
from mesh import contexts, placement, telemetry, topics
from mesh.bus import topic_counts, traces
from mesh.bus.announcer import Announcer
from mesh.bus.bus import Bus
from mesh.bus.calls import Calls
from mesh.bus.frames import CRASHED_JOINS
from mesh.endpoint import Endpoint
from mesh.pubsub import PubSub
from mesh.settings import Settings
from mesh.zeromq.curve import new_context
from nodes import banner, lifecycle, listening, tls
from nodes.admin import AdminServer, health_routes
from nodes.health import Prober
from nodes.metrics import Gauges

CLOSE_SECONDS = 3.0
"""Clients that are sent their close frame have this long before the process ends."""


class GatewayNode:
    """One gateway.

    Attributes:
        id: of this node, new with every start.
        addresses: of its listeners, as URLs, once it is started.
        zeromq_address: where ZeroMQ clients connect, or empty.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.id = lifecycle.new_id("gateway")
        self.addresses: list[str] = []
        self.zeromq_address = ""
        self.endpoint = endpoint
        self.settings = settings
        self._owns_context = context is None
        self._context: zmq.Context[zmq.Socket[bytes]] = context or new_context(settings.security)
        self.bus: Bus | None = None
        self.announcer: Announcer | None = None
        self.workers: Workers | None = None
        self.hub: Hub | None = None
        self.prober: Prober | None = None
        self.admin: AdminServer | None = None
        self._websockets: WebSockets | None = None
        self._longpoll: LongPoll | None = None
        self._zeromq: ZeroMQClients | None = None
        self._guard: JoinGuard | None = None
        self._calls: Calls | None = None
        self._traces: Traces | None = None
        self._server: GatewayServer | None = None
        self._door: Door | None = None

    async def start(self) -> None:
        """Connect to the bus, then listen.

        Raises:
            NodeError: if a port is occupied.
        """
        settings = self.settings
        contexts.take_base()
        self.endpoint.configure(lifecycle.secret(settings))
        certificate = tls.context(settings.gateway)
        shared, own = self._bind()
        self.bus = bus = Bus(self._context, self.id, settings.bus)
        self.announcer = announcer = Announcer(
            bus.publisher,
            bus.subscriber,
            placement.Announcement(node=self.id, kind="gateway", urls=tuple(self.addresses)),
            settings.bus.announce_seconds,
            settings.bus.node_down_seconds,
        )
        self.workers = Workers(
            self._context,
            self.id,
            announcer,
            settings.link,
            settings.gateway.worker_wait_seconds,
            settings.gateway.max_joins_waiting,
            settings.bus.node_down_seconds,
        )
        self._guard = guard = JoinGuard(
            settings.gateway.max_topic_rest_seconds,
            lambda data: bus.publisher.publish_kind(CRASHED_JOINS, topics.JOINS, data=data),
        )
        bus.subscribe(topics.exact(topics.JOINS))
        bus.subscriber.on_other[CRASHED_JOINS] = guard.told
        self.hub = Hub(
            self.id, bus, self.workers, settings.gateway, settings.link.hold_seconds, settings.limits, guard
        )
        bus.subscriber.on_broadcast = self.hub.broadcast
        if self._owns_context:  # embedded, the worker binds it
            self.endpoint.bind(PubSub(bus, self.hub.local_broadcast))
        self._calls = calls = Calls(bus, self.id)
        calls.is_gone = announcer.gone.is_gone
        announcer.gone.on_gone = calls.gone
        announcer.on_accused = announcer.announce
        calls.answers[topic_counts.TOPICS] = LiveTopics(self.hub.fanout).answer
        self._websockets = WebSockets(self.hub, settings.gateway)
        self._traces = Traces(self.hub.fanout, self._websockets.flusher.flush)
        calls.answers[traces.TRACE] = self._traces.answer
        bus.start()
        bus.when_subscribed(announcer.start)  # not before the answers can be heard
        sessions = LongPollSessions(self.hub, settings.gateway, settings.longpoll)
        self._longpoll = LongPoll(sessions, calls, self.id, lifecycle.secret(settings))
        self.prober = Prober(bus, announcer, settings.admin.ready_seconds)
        bus.when_subscribed(self.prober.start)
        api = PublishApi(bus, settings.api) if settings.api.keys else None
        application = make_application(
            self.endpoint,
            self._websockets,
            self._longpoll,
            settings.gateway,
            api,
            health_routes(self.id, "gateway", self.checks),
        )
        if self._owns_context:
            self.admin = AdminServer(
                settings.admin, self.id, "gateway", self.checks, self.gauges, self.routes
            )
        if settings.zeromq.bind is not None:
            self._zeromq = ZeroMQClients(
                self._context,
                self.hub,
                self.endpoint,
                settings.gateway,
                settings.zeromq,
                settings.zeromq.bind,
            )
            self._zeromq.start()
            self.zeromq_address = self._zeromq.address
        self._server = GatewayServer(application, settings=settings.gateway, ssl_options=certificate)
        self._door = Door(
            self._server,
            self._websockets,
            handshakes(self.endpoint, "websocket", settings.gateway),
            settings.gateway.handshake_timeout_seconds,
            certificate,
            TrustedProxies(settings.gateway.trusted_proxies),
        )
        self._door.add_sockets(shared, proxied=settings.gateway.proxy_protocol == "required")
        self._door.add_sockets(own)
        self._tell("node_started")

    def _tell(self, event: str) -> None:
        telemetry.emit(event, {}, {"node": self.id, "kind": "gateway"})

    async def aclose(self) -> None:
        """Listen no more, send all clients away with 1012, end the links, say goodbye."""
        if self.prober is not None:
            self.prober.draining = True
        if self._door is not None:
            self._door.close()
        if self._server is not None:
            self._server.stop()
        if self._longpoll is not None:
            self._longpoll.draining = True
        if self.hub is not None:
            await drain(self.hub, self.settings.drain)
        if self._server is not None:
            await self._server.finish(CLOSE_SECONDS)
        if self.hub is not None:
            await drain(self.hub, self.settings.drain)  # who asked over TLS for a WebSocket just before
        if self._websockets is not None:
            await self._websockets.aclose(CLOSE_SECONDS)
        if self._longpoll is not None:
            self._longpoll.close()
        if self._zeromq is not None:
            self._zeromq.close()
        if self.announcer is not None:
            self.announcer.close()
        if self.workers is not None:
            self.workers.close()
        if self._guard is not None:
            self._guard.close()
        if self._calls is not None:
            self._calls.close()
        if self._traces is not None:
            self._traces.close()
        if self.admin is not None:
            self.admin.close()
        if self.prober is not None:
            self.prober.close()
        if self.hub is not None:
            self.hub.topics.close()
        if self.bus is not None:
            self.bus.close()
        if self._owns_context:
            self.endpoint.bind(None)
            self._context.term()
        self._tell("node_stopped")

    def checks(self) -> Checks:
        """What `/readyz` asks: the bus, a worker for every route, and whether their broadcasts come."""
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
        """What `/metrics` asks."""
        assert self.hub is not None
        assert self.bus is not None
        assert self.workers is not None
        assert self.prober is not None
        clients, channels, topics = self.hub.counts()
        return {
            "open_connections": clients,
            "open_channels": channels,
            "topics": topics,
            "unsent_bytes": self.hub.unsent_bytes(),
            "readers_paused": self.hub.reading.counts(),
            "link_queue_bytes": self.workers.waiting_bytes,
            "links": self.workers.links,
            "bus_connected": int(self.bus.publisher.connected),
            "bus_backlog_messages": self.bus.publisher.backlog,
            "loop_lag_seconds": self.prober.lag_seconds,
        }

    def routes(self) -> Mapping[str, Tally]:
        """What became of broadcasts, by route; what has not left yet is sent or waits."""
        assert self.hub is not None
        if self._websockets is not None:
            self._websockets.flusher.flush()
        return self.hub.fanout.routes

    def _bind(self) -> tuple[list[socket.socket], list[socket.socket]]:
        """(listeners of the port, those of this gateway's own)."""
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
