"""What a gateway and a worker have in common: a context, a bus, announcements and probes.

`MeshNode` is made first and `Membership` second, because an announcement contains addresses that are known
only in between. What is started here is undone by the AsyncExitStack that is passed in.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Literal

import zmq

from mesh import contexts, telemetry
from mesh.app.endpoint import Endpoint
from mesh.bus.contract import Handlers
from mesh.bus.discovery.announcements import Announcer, NodeHandlers
from mesh.bus.discovery.placement import Announcement
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.nodes.health import Prober
from mesh.nodes.metrics import Gauges
from mesh.nodes.runtime import late_reports, lifecycle
from mesh.settings import Settings
from mesh.zeromq.curve import new_context


class MeshNode:
    """A node's id, its ZeroMQ context and its bus, which is not started yet.

    Args:
        stack: stops the node.
        kind: of the node.
        endpoint: the application, which is given the secret of its tokens.
        settings: all settings.
        context: in an embedded node, the context that its nodes share; by default a new one.

    Attributes:
        id: the node's id, new with every start.
        embedded: whether the context, and the process, belong to an embedded node.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        kind: Literal["gateway", "worker"],
        endpoint: Endpoint,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]] | None,
    ) -> None:
        self.id = lifecycle.new_id(kind)
        self.kind = kind
        self.settings = settings
        self.secret = lifecycle.secret(settings)
        self.embedded = context is not None
        stack.callback(self.emit, "node_stopped")
        contexts.set_base()
        late_reports.install(asyncio.get_running_loop())
        endpoint.configure(self.secret)
        if context is None:
            context = new_context(settings.security)
            stack.callback(context.term)
        self.context: zmq.Context[zmq.Socket[bytes]] = context
        self.bus = ZeroMQBus(context, self.id, settings.bus)
        stack.callback(self.bus.close)

    def emit(self, event: str) -> None:
        """Emit a telemetry event about this node."""
        telemetry.emit(event, {}, {"node": self.id, "kind": self.kind})


class Membership:
    """Makes a node known to the others, and checks whether the bus delivers.

    Args:
        stack: stops the probes, after everything that was started later.
        node: the node.
        announcement: what the other nodes must know of it.

    Attributes:
        announcer: announces the node, and knows the others.
        prober: probes the bus.
    """

    def __init__(self, stack: AsyncExitStack, node: MeshNode, announcement: Announcement) -> None:
        settings = node.settings
        self._bus = node.bus
        self.announcer = Announcer(
            node.bus, announcement, settings.bus.announce_seconds, settings.bus.node_down_seconds
        )
        self.prober = Prober(node.bus, self.announcer, settings.admin.ready_seconds)
        stack.callback(self.prober.close)

    def start(self, stack: AsyncExitStack, nodes: NodeHandlers, handlers: Handlers) -> None:
        """Start the bus, probe it, and announce the node.

        Args:
            stack: announces that the node stops.
            nodes: called when other nodes come and go.
            handlers: called with what comes over the bus.
        """
        self.announcer.start(nodes)
        stack.callback(self.announcer.close)
        self._bus.start(handlers)
        self._bus.when_subscribed(self.prober.start)

    def gauges(self) -> Gauges:
        """Return the values for `/metrics` that every node on the bus has."""
        bus = self._bus.status()
        return {
            "bus_connected": int(bus.connected),
            "bus_backlog_messages": bus.waiting,
            "loop_lag_seconds": self.prober.lag_seconds,
        }
