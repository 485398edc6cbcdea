"""Says on the bus who this node is and what it serves, and hears it of the others."""

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec

from mesh import topics
from mesh.bus.discovery import placement
from mesh.bus.discovery.departures import Departures
from mesh.bus.discovery.placement import Announcement, Placement
from mesh.bus.frames import ANNOUNCEMENT, READ
from mesh.bus.zeromq.publisher import Publisher
from mesh.bus.zeromq.subscriber import Subscriber
from mesh.errors import WireError
from mesh.telemetry import Complaints, get_logger
from mesh.versions import common

log = get_logger("mesh.nodes")
_malformed = Complaints(log, "announcement dropped")

MAX_OTHER_VERSIONS = 1_000
"""Nodes of which is remembered that it was said."""


class Announcer:
    """Keeps `placement` current.

    Attributes:
        placement: the other nodes, this one included.
        gone: which of them are gone.
        on_up: called with each announcement of a live node.
        on_down: called with the announcement of a node that said goodbye or fell silent.
        on_lost: called with the id of a node whose link to some other node has ended.
        on_accused: called when that is said of this node, which lives.
    """

    def __init__(
        self,
        publisher: Publisher,
        subscriber: Subscriber,
        announcement: Announcement,
        announce_seconds: float,
        node_down_seconds: float,
    ) -> None:
        self.placement = Placement()
        self.on_up: Callable[[Announcement], None] = lambda _: None
        self.on_down: Callable[[Announcement], None] = lambda _: None
        self.on_lost: Callable[[str], None] = lambda _: None
        self.on_accused: Callable[[], None] = lambda: None
        self.departures = Departures(self.placement, announce_seconds)
        self.departures.on_silent = publisher.gone
        self._publisher = publisher
        self._announcement = announcement
        self._announce_seconds = announce_seconds
        self._node_down_seconds = node_down_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._last = float("-inf")
        self._other_versions: set[str] = set()
        subscriber.subscribe(topics.exact(topics.NODES))
        subscriber.on_announcement = self._heard
        publisher.on_change = self._changed

    def start(self) -> None:
        """Announce now, and again and again."""
        self._tick()

    def close(self) -> None:
        """Say goodbye."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self.departures.close()
        self._announce("down")

    def announce(self) -> None:
        """Say at once that this node lives."""
        self._announce("up")

    def report_lost(self, node: str, kind: Literal["gateway", "worker"] = "worker") -> None:
        """Tell the others that our link to a node has ended by itself."""
        self._publisher.gone(node)
        lost = Announcement(node=node, kind=kind, state="lost")
        self._publisher.publish_kind(ANNOUNCEMENT, topics.NODES, data=placement.encode(lost))

    def missed(self) -> dict[str, set[str]]:
        """By node, the proxies through which it publishes and which this node does not hear."""
        heard = set(self._publisher.proxies)
        missed = {each.node: set(each.uses or ()) - heard for each in self.placement.nodes()}
        return {node: proxies for node, proxies in missed.items() if proxies}

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = now - self._last - self._announce_seconds
        if late < self._node_down_seconds / 2:
            for silent in self.placement.expire(now, self._node_down_seconds):
                log.warning("node fell silent", node=silent.node, kind=silent.kind)
                self.on_down(silent)
                self.departures.fell_silent(silent.node)
                self._agree()
        self._last = now
        self._announce("up")
        self._timer = loop.call_later(self._announce_seconds, self._tick)

    def _announce(self, state: Literal["up", "down"]) -> None:
        proxies = self._publisher.proxies
        announcement = msgspec.structs.replace(
            self._announcement, state=state, proxies=proxies, uses=self._publisher.uses, versions=READ
        )
        self._publisher.publish_kind(ANNOUNCEMENT, topics.NODES, data=placement.encode(announcement))

    def _agree(self) -> None:
        """Publish in the newest version that all live nodes read."""
        read = [each.reads for each in self.placement.nodes()]
        self._publisher.version = common((READ, *read)) or READ.newest

    def _other_version(self, announcement: Announcement) -> None:
        if announcement.node not in self._other_versions:
            if len(self._other_versions) >= MAX_OTHER_VERSIONS:
                self._other_versions.clear()
            self._other_versions.add(announcement.node)
            log.error(
                "node reads other versions of the bus: upgrade one of the two; it is ignored",
                node=announcement.node,
                theirs=str(announcement.reads),
                ours=str(READ),
            )

    def _changed(self) -> None:
        if self._timer is not None:
            self._announce("up")  # publishers use the proxies that everybody hears

    def _heard(self, data: bytes) -> None:
        try:
            announcement = placement.decode(data)
        except WireError as error:
            _malformed.about("unknown", "bus_messages_malformed", str(error))
            return
        if announcement.node == self._announcement.node:
            if announcement.state == "lost":
                self.on_accused()
            else:
                self.departures.heard_self()
            return
        if common((READ, announcement.reads)) is None:
            self._other_version(announcement)
            return
        if announcement.state == "lost":
            self.on_lost(announcement.node)
            if announcement.kind == "gateway":
                self.departures.accuse(announcement.node)
            return
        now = asyncio.get_running_loop().time()
        new = self.placement.heard(announcement, now)
        if new or announcement.state == "down":
            self._agree()
        if announcement.state == "down":
            self._publisher.gone(announcement.node)
            self.on_down(announcement)
            self.departures.left(announcement.node)
            return
        self.departures.spoke(announcement.node)
        if announcement.proxies is not None:
            self._publisher.hears(announcement.node, announcement.proxies)
        if new:
            log.debug("node is up", node=announcement.node, kind=announcement.kind)
            if self._timer is not None:
                self._announce("up")  # so that a newcomer need not wait for our next tick
        self.on_up(announcement)
