"""Announces this node and what it serves on the bus, and reads the announcements of other nodes.

Each node announces itself at a fixed interval, when a new node appears, and when its paths to the bus
change. docs/protocol.md §2.1 specifies the wire format. The known nodes are kept in a Placement.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from mesh.app import topics
from mesh.bus.contract import Bus
from mesh.bus.discovery import placement
from mesh.bus.discovery.departures import Departures
from mesh.bus.discovery.placement import Announcement, Placement
from mesh.bus.frames import ANNOUNCEMENT, READABLE_VERSIONS, Header
from mesh.errors import WireError
from mesh.protocol.versions import common
from mesh.telemetry import Complaints, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "announcement dropped")

MAX_INCOMPATIBLE_NODES = 1_000
"""The most nodes with an incompatible version that are remembered, so that each is logged once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHandlers:
    """What a node does when other nodes start and stop. None means that the node does not need it.

    Attributes:
        up: called with each announcement of a live node.
        down: called with the announcement of a node that announced its stop or fell silent.
        lost: called with the id of a node that another node reports as lost, because its link ended.
        reported_lost: called when another node reports this node as lost.
        gone: called with the id of a node that will not answer any more (departures.py).
    """

    up: Callable[[Announcement], None] | None
    down: Callable[[Announcement], None] | None
    lost: Callable[[str], None] | None
    reported_lost: Callable[[], None]
    gone: Callable[[str], None] | None


class Announcer:
    """Announces this node and keeps `placement` current.

    Args:
        bus: the bus on which nodes announce themselves.
        announcement: the announcement of this node.
        announce_seconds: the interval between two announcements.
        node_down_seconds: how long a node may be silent before it counts as down.

    Attributes:
        placement: the other nodes.
        departures: decides which nodes have stopped or died.
    """

    def __init__(
        self, bus: Bus, announcement: Announcement, announce_seconds: float, node_down_seconds: float
    ) -> None:
        self.placement = Placement()
        self.departures = Departures(self.placement, announce_seconds)
        self._bus = bus
        self._announcement = announcement
        self._announce_seconds = announce_seconds
        self._node_down_seconds = node_down_seconds
        self._handlers: NodeHandlers | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_tick = float("-inf")
        self._incompatible_nodes: set[str] = set()
        bus.subscribe(topics.exact(topics.NODES))

    def start(self, handlers: NodeHandlers) -> None:
        """Call `handlers` from now on, and announce this node regularly as soon as it can receive answers.

        Must be called before the bus is started.
        """
        self._handlers = handlers
        self.departures.start(self._bus.paths.node_gone, handlers.gone)
        self._bus.when_subscribed(self._tick)

    def close(self) -> None:
        """Announce that this node stops."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self.departures.close()
        self._announce("down")

    def announce(self) -> None:
        """Announce this node now."""
        self._announce("up")

    def report_lost(self, node: str, kind: Literal["gateway", "worker"] = "worker") -> None:
        """Report to the other nodes that our link to a node has ended unexpectedly."""
        self._bus.paths.node_gone(node)
        lost = Announcement(node=node, kind=kind, state="lost")
        self._bus.publish_kind(ANNOUNCEMENT, topics.NODES, data=placement.encode(lost))

    def unreceived_proxies(self) -> dict[str, set[str]]:
        """Return, by node, the proxies that it publishes through and this node does not receive from."""
        received_from = set(self._bus.paths.describe(self._announcement).proxies or ())
        unreceived = {each.node: set(each.uses or ()) - received_from for each in self.placement.nodes()}
        return {node: proxies for node, proxies in unreceived.items() if proxies}

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        delay = now - self._last_tick - self._announce_seconds
        if delay < self._node_down_seconds / 2:  # otherwise this process was frozen
            for silent in self.placement.expire(now, self._node_down_seconds):
                log.warning("node fell silent", node=silent.node, kind=silent.kind)
                if self._handlers is not None and self._handlers.down is not None:
                    self._handlers.down(silent)
                self.departures.fell_silent(silent.node)
                self._agree_on_version()
        self._last_tick = now
        self._announce("up")
        self._timer = loop.call_later(self._announce_seconds, self._tick)

    def _announce(self, state: Literal["up", "down"]) -> None:
        announcement = msgspec.structs.replace(self._announcement, state=state, versions=READABLE_VERSIONS)
        data = placement.encode(self._bus.paths.describe(announcement))
        self._bus.publish_kind(ANNOUNCEMENT, topics.NODES, data=data)

    def _agree_on_version(self) -> None:
        """Publish headers in the newest version that all live nodes can read."""
        readable = [each.reads for each in self.placement.nodes()]
        self._bus.paths.use_version(common((READABLE_VERSIONS, *readable)) or READABLE_VERSIONS.newest)

    def _log_incompatible(self, announcement: Announcement) -> None:
        if announcement.node not in self._incompatible_nodes:
            if len(self._incompatible_nodes) >= MAX_INCOMPATIBLE_NODES:
                self._incompatible_nodes.clear()
            self._incompatible_nodes.add(announcement.node)
            log.error(
                "node reads other versions of the bus: upgrade one of the two; it is ignored",
                node=announcement.node,
                theirs=str(announcement.reads),
                ours=str(READABLE_VERSIONS),
            )

    def paths_changed(self) -> None:
        """The paths of the bus have changed: announce it at once."""
        if self._timer is not None:
            self._announce("up")  # publishers use the proxies that every node receives from

    def on_announcement(self, _header: Header, data: bytes) -> None:
        """Handle an announcement: of another node, of this one, or a report about a lost node."""
        handlers = self._handlers
        if handlers is None:
            return
        try:
            announcement = placement.decode(data)
        except WireError as error:
            _malformed.about("unknown", "bus_messages_malformed", str(error))
            return
        if announcement.node == self._announcement.node:
            if announcement.state == "lost":
                handlers.reported_lost()
            else:
                self.departures.own_announcement_received()
        elif common((READABLE_VERSIONS, announcement.reads)) is None:
            self._log_incompatible(announcement)
        elif announcement.state == "lost":
            self._lost(handlers, announcement)
        elif announcement.state == "down":
            self._down(handlers, announcement)
        else:
            self._up(handlers, announcement)

    def _lost(self, handlers: NodeHandlers, announcement: Announcement) -> None:
        if handlers.lost is not None:
            handlers.lost(announcement.node)
        if announcement.kind == "gateway":
            self.departures.suspect(announcement.node)

    def _down(self, handlers: NodeHandlers, announcement: Announcement) -> None:
        self.placement.forget(announcement.node)
        self._agree_on_version()
        self._bus.paths.node_gone(announcement.node)
        if handlers.down is not None:
            handlers.down(announcement)
        self.departures.stopped(announcement.node)

    def _up(self, handlers: NodeHandlers, announcement: Announcement) -> None:
        new = self.placement.record(announcement, asyncio.get_running_loop().time())
        if new:
            self._agree_on_version()
        self.departures.announced(announcement.node)
        self._bus.paths.node_announced(announcement)
        if new:
            log.debug("node is up", node=announcement.node, kind=announcement.kind)
            if self._timer is not None:
                self._announce("up")  # so that the new node need not wait for our next announcement
        if handlers.up is not None:
            handlers.up(announcement)
