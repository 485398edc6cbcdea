"""A worker node: runs the channels that the gateways' clients join."""

import asyncio

import zmq

from mesh import contexts, telemetry, topics
from mesh.bus.contract import Handlers
from mesh.bus.delivery import subscribed
from mesh.bus.discovery import placement
from mesh.bus.discovery.announcements import Announcer, NodeHandlers
from mesh.bus.frames import ANNOUNCEMENT, TRACKER
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.endpoint import Endpoint
from mesh.errors import SettingsError
from mesh.link.handlers import RouterHandlers
from mesh.link.reach import machine
from mesh.link.router import Router
from mesh.link.silence import Silence
from mesh.pubsub import PubSub
from mesh.settings import Settings
from mesh.telemetry import get_logger
from mesh.worker.background import BackgroundTasks
from mesh.worker.channels import Channels
from mesh.worker.presence.registry import PresenceRegistry
from mesh.worker.presence.server import LocalBroadcast
from mesh.zeromq.curve import new_context
from nodes import banner, lifecycle
from nodes.admin import AdminServer
from nodes.health import Prober
from nodes.metrics import Gauges
from nodes.private_directory import PrivateDirectory

log = get_logger("nodes.worker")

SOCKET = "link"
CONFIRM_SECONDS = 0.5
FOLLOWED_SECONDS = 1.0
"""The time for other workers to track the presences of channels that moved to them."""


class WorkerNode:
    """One worker.

    Attributes:
        id: the node's id, new with every start.
        link_address: the address for gateways, once it is started.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.id = lifecycle.new_id("worker")
        self.link_address = ""
        self.endpoint = endpoint
        self.settings = settings
        self._owns_context = context is None
        self._context: zmq.Context[zmq.Socket[bytes]] = context or new_context(settings.security)
        self.bus: ZeroMQBus | None = None
        self.router: Router | None = None
        self.announcer: Announcer | None = None
        self.channels: Channels | None = None
        self.presences: PresenceRegistry | None = None
        self._silence: Silence | None = None
        self.prober: Prober | None = None
        self.admin: AdminServer | None = None
        self._directory: PrivateDirectory | None = None
        self.background = BackgroundTasks(endpoint.background, settings.worker.kill_seconds)

    async def start(self) -> None:
        """Listen for gateways, subscribe, and only then announce.

        Raises:
            NodeError: if the link's address is in use.
        """
        settings = self.settings
        contexts.take_base()
        self.endpoint.configure(lifecycle.secret(settings))
        self.router = router = Router(self._context, self.id, settings.link, self._bind())
        self.link_address = router.address
        self.bus = bus = ZeroMQBus(self._context, self.id, settings.bus)
        self.channels = channels = Channels(
            self.endpoint, bus, router.send, settings.worker, router.version, self._make_presences
        )
        self.presences = presences = channels.presences
        self.endpoint.bind(PubSub(bus, channels.members.local_broadcast))
        for pattern in channels.intercepted_patterns():
            bus.subscribe(topics.prefix(pattern))
        for topic in presences.topics():
            bus.subscribe(topics.exact(topic))
        self.announcer = announcer = Announcer(
            bus,
            placement.Announcement(
                node=self.id,
                kind="worker",
                link=router.address,
                routes=tuple(channels.routes()),
                key=router.key,
                machine=machine() if router.address.startswith("ipc://") else None,
            ),
            settings.bus.announce_seconds,
            settings.bus.node_down_seconds,
        )
        self._silence = silence = Silence(settings.bus.node_down_seconds, router.gateway_silent)
        bus.when_subscribed(presences.start)
        announcer.start(
            NodeHandlers(
                up=lambda announcement: silence.heard(announcement.node),
                down=self._node_down,
                lost=presences.lost,
                accused=presences.answer,
                gone=None,
            )
        )
        bus.start(
            Handlers(
                broadcast=channels.members.broadcast,
                messages={ANNOUNCEMENT: announcer.on_announcement, TRACKER: presences.handle},
                published=channels.members.published,
                unread=None,
                paths_changed=announcer.paths_changed,
            )
        )
        router.start(
            RouterHandlers(
                on_up=channels.gateway_up,
                on_command=channels.handle,
                on_malformed=channels.malformed,
                on_down=channels.gateway_down,
                on_gone=self._gateway_gone,
                on_behind=channels.pause_link,
            )
        )
        self.prober = Prober(bus, announcer, settings.admin.ready_seconds)
        bus.when_subscribed(self.prober.start)
        if self._owns_context:
            self.admin = AdminServer(settings.admin, self.id, "worker", self.prober.checks, self.gauges)
        bus.when_subscribed(self.background.start)
        self._tell("node_started")

    def _make_presences(self, local_broadcast: LocalBroadcast) -> PresenceRegistry:
        assert self.bus is not None
        publish, settings = self.bus.publish_kind, self.settings.presence
        return PresenceRegistry.of(self.endpoint.presences, self.id, publish, settings, local_broadcast)

    def _gateway_gone(self, gateway: str) -> None:
        """Report a gateway whose link ended unexpectedly, so that nobody waits for its answer."""
        assert self.bus is not None
        self.bus.paths.node_gone(gateway)
        if self.announcer is not None and self.announcer.placement.get(gateway) is not None:
            self.announcer.report_lost(gateway, "gateway")

    def _node_down(self, announcement: placement.Announcement) -> None:
        """Mark a silent node as lost. A node that announced its end reports its presences itself."""
        if self.presences is not None and announcement.state != "down":
            self.presences.lost(announcement.node)
        if self._silence is not None and announcement.kind == "gateway" and announcement.state != "down":
            self._silence.watch(announcement.node)

    def _tell(self, event: str) -> None:
        telemetry.emit(event, {}, {"node": self.id, "kind": "worker"})

    async def aclose(self) -> None:
        """Announce the end, move the channels that can move, end the others, close the links.

        The clients of channels that end rejoin on other workers.
        """
        if self.prober is not None:
            self.prober.draining = True
        if self.announcer is not None:
            self.announcer.close()
        if self._silence is not None:
            self._silence.close()
        await self.background.aclose()
        if self.presences is not None:
            self.presences.tell()
            await self._last_broadcasts()
        if self.channels is not None:
            await self.channels.move_away(self.settings.drain.shutdown_seconds)
            await self.channels.aclose()
        if self.presences is not None:
            await self.presences.followed(FOLLOWED_SECONDS)
            self.presences.close()
        await self._last_broadcasts()
        if self.router is not None:
            self.router.close()
        if self.channels is not None:
            self.channels.links_closed()
        if self.admin is not None:
            self.admin.close()
        if self.prober is not None:
            self.prober.close()
        if self.bus is not None:
            self.bus.close()
        self.endpoint.bind(None)
        if self._owns_context:
            self._context.term()
        if self._directory is not None:
            self._directory.close()
        self._tell("node_stopped")

    def _bind(self) -> str:
        """Return the address on which to listen for gateways.

        Raises:
            SettingsError, NodeError: if there is none.
        """
        link = self.settings.link
        if link.bind is not None:
            return link.bind
        if link.advertise_host is not None:
            raise SettingsError(
                f"MESH_LINK__ADVERTISE_HOST: {link.advertise_host!r} is a host for gateways to connect to,"
                " but the worker listens on a socket of this machine; set MESH_LINK__BIND=tcp://HOST:* too"
            )
        self._directory = PrivateDirectory()
        return f"ipc://{self._directory.path / SOCKET}"

    async def _last_broadcasts(self) -> None:
        """Wait until the bus has the last broadcasts, so that the links' end does not overtake them."""
        if self.bus is None or not self.bus.status().connected:
            return
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await subscribed(self.bus)
        except TimeoutError:
            log.warning("the bus did not confirm the last broadcasts", seconds=CONFIRM_SECONDS)

    def gauges(self) -> Gauges:
        """Return the values for `/metrics`."""
        assert self.channels is not None
        assert self.router is not None
        assert self.bus is not None
        assert self.prober is not None
        channels, topics_here = self.channels.counts()
        bus = self.bus.status()
        return {
            "open_channels": channels,
            "topics": topics_here,
            "mailbox_messages": self.channels.waiting(),
            "mailbox_bytes": self.channels.waiting_bytes(),
            "link_queue_bytes": self.router.waiting_bytes,
            "topics_held": len(self.channels.push_pauses),
            "links": self.router.links,
            "bus_connected": int(bus.connected),
            "bus_backlog_messages": bus.waiting,
            "loop_lag_seconds": self.prober.lag_seconds,
        }


def run(endpoint: Endpoint, settings: Settings, app_spec: str) -> None:
    """Run a worker until SIGINT or SIGTERM."""

    def started(node: lifecycle.Node) -> None:
        assert isinstance(node, WorkerNode)
        rows = [("link", node.link_address)]
        rows += [("proxy", address) for address in settings.bus.proxies]
        rows += [("admin", node.admin.address)] if node.admin and node.admin.address else []
        banner.show("worker", app_spec, rows)

    lifecycle.run(lambda: WorkerNode(endpoint, settings), started, settings)


if __name__ == "__main__":
    from nodes.cli import run_command

    run_command("worker")
