"""A worker node: runs the channels that the gateways' clients join."""

import asyncio
from contextlib import AsyncExitStack

import zmq

from mesh.app import topics
from mesh.app.endpoint import Endpoint
from mesh.app.pubsub import LocalBroadcast
from mesh.bus.calls import CallHandler, Calls, Responder
from mesh.bus.contract import Handlers
from mesh.bus.delivery import subscribed
from mesh.bus.discovery.announcements import NodeHandlers
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import ANNOUNCEMENT, TRACKER
from mesh.errors import SettingsError
from mesh.history.answers import HistoryAnswers
from mesh.history.recorder import NoRecorder, Recorder
from mesh.link.handlers import RouterHandlers
from mesh.link.reach import machine
from mesh.link.router import Router
from mesh.link.silence import Silence
from mesh.nodes import banner
from mesh.nodes.admin import AdminServer
from mesh.nodes.health import Checks
from mesh.nodes.mesh_node import Membership, MeshNode
from mesh.nodes.metrics import Gauges
from mesh.nodes.runtime import lifecycle
from mesh.nodes.runtime.private_directory import PrivateDirectory
from mesh.settings import LinkSettings, Settings
from mesh.telemetry import get_logger
from mesh.worker.background import BackgroundTasks
from mesh.worker.channels import Channels
from mesh.worker.presence.registry import PresenceRegistry

log = get_logger(__name__)

SOCKET_NAME = "link"
CONFIRM_SECONDS = 0.5
SETTLE_ANNOUNCEMENTS = 1.2
"""A worker that starts has heard every other one after this many intervals of announcements."""
TAKEOVER_SECONDS = 1.0
"""The time for other workers to track the presences of channels that moved to them."""


class WorkerNode:
    """One worker; `start` makes it.

    Args:
        stack: stops the worker.
        node: the node's bus.
        router: the worker's end of its links, which is bound.
        endpoint: the application.

    Attributes:
        id: the node's id, new with every start.
        link_address: the address for gateways.
        channels: those that it runs.
        presences: of its channels.
        admin: the operators' port; in an embedded node it is the gateway's that listens.
    """

    def __init__(self, stack: AsyncExitStack, node: MeshNode, router: Router, endpoint: Endpoint) -> None:
        settings = node.settings
        self.id = node.id
        self.link_address = router.address
        self.endpoint = endpoint
        self.settings = settings
        self._node = node
        self.bus = node.bus
        self.router = router
        self._calls = Calls(self.bus, self._is_gone)
        self._responder = Responder(self.bus, self._answer_to)
        self.recorder = self._make_recorder()
        self._history_answers = HistoryAnswers(
            self.recorder, endpoint.kept_topics, settings.bus.max_message_bytes
        )
        self.channels = Channels(
            endpoint,
            self.bus,
            router.send,
            settings.worker,
            router.version,
            self._make_presences,
            self.recorder,
        )
        self.presences = self.channels.presences
        self.background = BackgroundTasks(endpoint.background, settings.worker.kill_seconds)
        self._silence = Silence(settings.bus.node_down_seconds, router.gateway_silent)
        announcement = Announcement(
            node=node.id,
            kind="worker",
            link=router.address,
            routes=tuple(self.channels.routes()),
            history=tuple(each.key for each in endpoint.kept_topics),
            key=router.key,
            machine=machine() if router.address.startswith("ipc://") else None,
        )
        self._membership = Membership(stack, node, announcement)
        self.admin = AdminServer(settings.admin, node.id, "worker", self.checks, self.gauges)

    @classmethod
    async def start(
        cls,
        stack: AsyncExitStack,
        endpoint: Endpoint,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> "WorkerNode":
        """Listen for gateways, subscribe, and only then announce.

        Args:
            stack: stops the worker.
            endpoint: the application.
            settings: all settings.
            context: in an embedded node, the context that its nodes share; by default a new one.

        Raises:
            NodeError: if the link's address is in use.
        """
        address = _link_address(stack, settings.link)
        node = MeshNode(stack, "worker", endpoint, settings, context)
        router = Router(node.context, node.id, settings.link, address)
        stack.callback(router.close)
        worker = cls(stack, node, router, endpoint)
        worker._start(stack)
        return worker

    def _start(self, stack: AsyncExitStack) -> None:
        """Start what the constructor made. The stack undoes it from the last line to the first."""
        bus, channels, presences = self.bus, self.channels, self.presences
        stack.callback(channels.links_closed)
        self.endpoint.bind(channels.pubsub)
        stack.callback(self.endpoint.bind, None)
        if not self._node.embedded:
            self.admin.start()
            stack.callback(self.admin.close)
        stack.push_async_callback(self._end_channels)
        for pattern in channels.received_patterns():
            bus.subscribe(topics.prefix(pattern))
        for topic in presences.topics():
            bus.subscribe(topics.exact(topic))
        bus.when_subscribed(presences.start)
        stack.push_async_callback(self.background.aclose)
        stack.callback(self._silence.close)
        stack.callback(self._responder.close)
        stack.callback(self._calls.close)
        stack.push_async_callback(self.recorder.aclose)
        self._membership.start(stack, self._node_handlers(), self._handlers())
        # Before this node announces its end: until then, its topics are handed over, not taken over.
        stack.push_async_callback(self.recorder.hand_over, self.settings.drain.shutdown_seconds)
        bus.when_subscribed(self.recorder.start)
        self.router.start(self._router_handlers())
        bus.when_subscribed(self.background.start)
        stack.callback(self._membership.prober.drain)
        self._node.emit("node_started")

    def _node_handlers(self) -> NodeHandlers:
        return NodeHandlers(
            up=self._node_up,
            down=self._node_down,
            lost=self._node_lost,
            reported_lost=self._reported_lost,
            gone=self._calls.fail_calls_to,
        )

    def _handlers(self) -> Handlers:
        channels, announcer = self.channels, self._membership.announcer
        return Handlers(
            broadcast=channels.on_broadcast,
            recorded=channels.on_recorded,
            keeps=channels.kept.keeps,
            messages={
                **self._calls.handlers,
                **self._responder.handlers,
                ANNOUNCEMENT: announcer.on_announcement,
                TRACKER: self.presences.handle,
            },
            published=channels.members.published,
            unread=None,
            paths_changed=announcer.paths_changed,
            ignores_own=not (self.recorder.hears_own or channels.intercepts_kept),
        )

    def _router_handlers(self) -> RouterHandlers:
        channels = self.channels
        return RouterHandlers(
            on_up=channels.gateway_up,
            on_command=channels.handle,
            on_malformed=channels.malformed,
            on_down=channels.gateway_down,
            on_gone=self._gateway_gone,
            on_behind=channels.pause_link,
        )

    def _make_presences(self, local_broadcast: LocalBroadcast) -> PresenceRegistry:
        publish, settings = self.bus.publish_kind, self.settings.presence
        return PresenceRegistry.of(self.endpoint.presences, self.id, publish, settings, local_broadcast)

    # History

    def _make_recorder(self) -> Recorder:
        """Return what records the topics that have a history."""
        kept, settings = self.endpoint.kept_topics, self.settings
        if not kept:
            return NoRecorder(self.bus)
        # Its modules are imported here: they take up to a tenth of the time in which a worker starts.
        settle_seconds = SETTLE_ANNOUNCEMENTS * settings.bus.announce_seconds
        if self._node.embedded:
            settle_seconds = 0.0  # there are no other workers
        if settings.history.store == "redis":
            from mesh.history.redis_recorder import RedisRecorder
            from mesh.history.redis_store import RedisStore

            first = settings.history.publish_first
            return RedisRecorder(self.bus, kept, RedisStore(settings.history), first)
        from mesh.history.memory_recorder import MemoryRecorder

        return MemoryRecorder(self.bus, self._calls, kept, settings.history, settle_seconds)

    def _answer_to(self, call: str) -> CallHandler | None:
        return self.recorder.answer_to(call) or self._history_answers.find(call)

    def _is_gone(self, node: str) -> bool:
        return self._membership.announcer.departures.is_gone(node)

    # Other nodes

    def _gateway_gone(self, gateway: str) -> None:
        """Report a gateway whose link ended unexpectedly, so that nobody waits for its answer."""
        announcer = self._membership.announcer
        self.bus.paths.node_gone(gateway)
        if announcer.placement.get(gateway) is not None:
            announcer.report_lost(gateway, "gateway")

    def _node_up(self, announcement: Announcement) -> None:
        self._silence.unwatch(announcement.node)
        self.recorder.announced(announcement)

    def _node_lost(self, node: str) -> None:
        self.presences.lost(node)
        self.recorder.lost(node)

    def _reported_lost(self) -> None:
        """Another node has lost its link to this one: say at once that it is alive."""
        self.presences.refute_loss()
        self._membership.announcer.announce()
        self.recorder.reported_lost()

    def _node_down(self, announcement: Announcement) -> None:
        """Mark a silent node as lost. A node that announced its end reports its presences itself."""
        self.recorder.gone(announcement.node)
        if announcement.state == "down":
            return
        self.presences.lost(announcement.node)
        if announcement.kind == "gateway":
            self._silence.watch(announcement.node)

    # Stopping

    async def _end_channels(self) -> None:
        """Move the channels that can move, and end the others, whose clients rejoin on other workers.

        The end of this node is announced already, and the links are still open.
        """
        self.presences.gossip_now()
        await self._confirm_last_broadcasts()
        await self.channels.move_away(self.settings.drain.shutdown_seconds)
        await self.channels.aclose()
        await self.presences.wait_until_taken_over(TAKEOVER_SECONDS)
        self.presences.close()
        await self._confirm_last_broadcasts()

    async def _confirm_last_broadcasts(self) -> None:
        """Wait until the bus has the last broadcasts, so that the links' end does not overtake them."""
        if not self.bus.status().connected:
            return
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await subscribed(self.bus)
        except TimeoutError:
            log.warning("the bus did not confirm the last broadcasts", seconds=CONFIRM_SECONDS)

    def checks(self) -> Checks:
        """Return the checks of `/readyz`: the bus, and the histories."""
        return {**self._membership.prober.checks(), "history": self.recorder.problem()}

    def gauges(self) -> Gauges:
        """Return the values for `/metrics`."""
        channels, topics_here = self.channels.counts()
        return {
            "open_channels": channels,
            "topics": topics_here,
            "mailbox_messages": self.channels.waiting(),
            "mailbox_bytes": self.channels.waiting_bytes(),
            "link_queue_bytes": self.router.waiting_bytes,
            "topics_held": len(self.channels.push_pauses),
            "links": self.router.links,
            **self.recorder.gauges(),
            **self._membership.gauges(),
        }


def _link_address(stack: AsyncExitStack, link: LinkSettings) -> str:
    """Return the address on which to listen for gateways; by default in a private directory.

    Raises:
        SettingsError, NodeError: if there is none.
    """
    if link.bind is not None:
        return link.bind
    if link.advertise_host is not None:
        raise SettingsError(
            f"MESH_LINK__ADVERTISE_HOST: {link.advertise_host!r} is a host for gateways to connect to,"
            " but the worker listens on a socket of this machine; set MESH_LINK__BIND=tcp://HOST:* too"
        )
    return f"ipc://{stack.enter_context(PrivateDirectory()) / SOCKET_NAME}"


def run(endpoint: Endpoint, settings: Settings, app_spec: str) -> None:
    """Run a worker until SIGINT or SIGTERM."""

    def started(node: WorkerNode) -> None:
        rows = [("link", node.link_address)]
        rows += [("proxy", address) for address in settings.bus.proxies]
        rows.append(("admin", node.admin.address))
        banner.show("worker", app_spec, rows)

    lifecycle.run(lambda stack: WorkerNode.start(stack, endpoint, settings), started, settings)
