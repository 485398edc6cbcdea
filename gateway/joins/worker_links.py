"""Links to the workers; which worker a topic belongs to; joins that wait for one.

A worker counts once its link is up. When it dies, the hub hears of it at once, not by missed
announcements. One whose link keeps ending is tried more and more rarely. Joins for which there is no worker
yet wait a bounded time.
"""

import asyncio
import random
from typing import Protocol

import zmq

from gateway.channels.gateway_channel import GatewayChannel
from gateway.channels.phases import Phase
from gateway.joins.pending import PendingJoins
from gateway.joins.unreachable_workers import UnreachableWorkers
from mesh.bus.discovery.announcements import Announcer
from mesh.bus.discovery.placement import Announcement, choose
from mesh.errors import MeshError
from mesh.link import commands
from mesh.link.backoff import Backoff, End
from mesh.link.dealer import Dealer
from mesh.link.handlers import DealerHandlers
from mesh.link.malformed import Malformed
from mesh.link.silence import Silence
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.workers")
_chance = random.SystemRandom().random


class LinkHandler(Protocol):
    """What the links tell: the hub."""

    def on_command(self, worker: str, command: commands.ToGateway) -> None:
        """A worker has sent a command."""

    def on_malformed(self, worker: str, command: Malformed) -> None:
        """A worker sent a command that names whom it concerns, but cannot be read."""

    def on_lost(self, worker: str, died: bool) -> None:
        """A worker is gone; not dead if it stopped in order, or was given up as too far behind."""

    def on_placeable(self, channel: GatewayChannel) -> None:
        """There may be a worker now for a channel that has waited for one."""

    def on_unplaceable(self, channel: GatewayChannel) -> None:
        """A channel has waited too long."""

    def on_linked(self, worker: str) -> None:
        """The link to a worker is up."""

    def on_behind(self, worker: str, much: bool) -> None:
        """Much waits for a worker, or no longer."""


class WorkerLinks:
    """The workers a gateway is linked to.

    Args:
        handler: told what happens.
        worker_wait_seconds: how long a join waits for a worker.
        max_joins_waiting: how many may.
        silence_seconds: after which a worker that is silent on the bus is asked for on its link.
    """

    def __init__(
        self,
        handler: LinkHandler,
        context: zmq.Context[zmq.Socket[bytes]],
        gateway: str,
        announcer: Announcer,
        settings: LinkSettings,
        worker_wait_seconds: float,
        max_joins_waiting: int,
        silence_seconds: float = 5.0,
    ) -> None:
        self._handler = handler
        self._context = context
        self._gateway = gateway
        self._settings = settings
        self._max_joins_waiting = max_joins_waiting
        self._dealers: dict[str, Dealer] = {}
        self._incompatible: set[str] = set()
        self._unreachable = UnreachableWorkers()
        self._stopping: set[str] = set()
        self._malformed: set[str] = set()
        self._backoff = Backoff()
        self._silence = Silence(silence_seconds, self._silent)
        self._routes: dict[tuple[str, str], list[str]] = {}
        self._waiting = PendingJoins(worker_wait_seconds, self._late)
        self._announcer = announcer
        self._handlers = DealerHandlers(
            on_up=self._up,
            on_command=handler.on_command,
            on_malformed=self._is_malformed,
            on_down=self._down,
            on_incompatible=self._not_ours,
            on_behind=handler.on_behind,
        )

    def place(self, mount: str, channel: GatewayChannel, socket_key: str) -> str | None:
        """The worker for a channel; None: it waits, and the hub is called again."""
        deadline = self._waiting.deadlines.pop(channel, None)
        route = channel.route
        candidates = self._routes.get((mount, route.pattern))
        if candidates and channel.phase is Phase.MOVING:
            candidates = [each for each in candidates if self._dealers[each].version >= commands.MOVES]
            if not candidates:  # only older ones, which would not know what it takes along
                asyncio.get_running_loop().call_soon(self._handler.on_unplaceable, channel)
                return None
        if not candidates:
            if len(self._waiting.deadlines) < self._max_joins_waiting:
                self._waiting.add(channel, deadline)
            else:
                asyncio.get_running_loop().call_soon(self._handler.on_unplaceable, channel)
            return None
        if self._backoff:  # rather not to one whose link keeps ending
            candidates = [each for each in candidates if not self._backoff.avoids(each)] or candidates
        key = channel.topic if route.channel.spread == "topic" else socket_key
        return choose(key, candidates)

    def send(self, worker: str, command: commands.ToWorker) -> None:
        """Queue a command; for a worker that is gone it is dropped, the hub has been told."""
        dealer = self._dealers.get(worker)
        if dealer is not None:
            dealer.send(command)

    def tell_all(self, command: commands.TopicPaused | commands.TopicResumed) -> None:
        """Queue a command for every worker whose link is up and of a version that has it."""
        for worker in self._dealers:
            self.tell(worker, command)

    def tell(self, worker: str, command: commands.TopicPaused | commands.TopicResumed) -> None:
        """Queue a command for one worker, if its link is up and of a version that has it."""
        dealer = self._dealers.get(worker)
        if dealer is not None and dealer.up and dealer.version >= commands.BACK_PRESSURE:
            dealer.send(command)

    def behind(self, worker: str) -> bool:
        """Whether much waits for a worker."""
        dealer = self._dealers.get(worker)
        return dealer is not None and dealer.behind

    @property
    def waiting_bytes(self) -> int:
        """What waits for all workers together."""
        return sum(dealer.waiting_bytes for dealer in self._dealers.values())

    @property
    def links(self) -> int:
        """How many links are up."""
        return sum(dealer.up for dealer in self._dealers.values())

    def serves(self, mount: str, pattern: str) -> bool:
        """Whether a worker is there for this route."""
        return bool(self._routes.get((mount, pattern)))

    def unheard(self) -> list[str]:
        """Linked workers that take joins, but of which nothing comes on the bus: no broadcast either."""
        routed = {worker for workers in self._routes.values() for worker in workers}
        return sorted(worker for worker in routed if self._announcer.placement.get(worker) is None)

    def linked(self, worker: str) -> bool:
        """Whether there is a link to this node."""
        return worker in self._dealers

    def received(self, worker: str) -> int:
        """How many commands a worker has sent us."""
        dealer = self._dealers.get(worker)
        return dealer.received if dealer is not None else 0

    def mark_draining(self, worker: str) -> None:
        """It says on its link that it stops, before the bus says so: no new joins."""
        if worker in self._dealers:
            self._stopping.add(worker)
        self._unroute(worker)

    def forget(self, channel: GatewayChannel) -> None:
        """The channel no longer waits."""
        self._waiting.deadlines.pop(channel, None)

    def close(self) -> None:
        """End all links."""
        self._waiting.deadlines.clear()
        self._silence.close()
        for dealer in list(self._dealers.values()):
            dealer.close()
        self._dealers.clear()
        self._routes.clear()

    # Workers come and go

    def announced(self, announcement: Announcement) -> None:
        """A node has announced itself: link to it, if it is a worker."""
        worker = announcement.node
        if announcement.kind != "worker" or announcement.link is None or worker in self._incompatible:
            return
        dealer = self._dealers.get(worker)
        if dealer is not None:
            self._silence.heard(worker)
            if self._backoff and dealer.up and self._backoff.sound(worker, dealer.up_seconds):
                log.info("link to worker is sound again", worker=worker)
            return
        if self._backoff and self._backoff.waits(worker, asyncio.get_running_loop().time()):
            return
        if self._unreachable.is_so(worker, announcement.link, announcement.machine):
            return
        try:
            self._dealers[worker] = Dealer(
                self._context,
                self._settings,
                self._gateway,
                worker,
                announcement.link,
                announcement.key,
                self._handlers,
            )
        except (MeshError, zmq.ZMQError) as error:  # ZMQError: too many open files, say
            self._failed(worker, End.CONNECTION, 0.0, str(error))

    def _up(self, worker: str) -> None:
        announcement = self._announcer.placement.get(worker)
        if announcement is None:  # it said goodbye while we were connecting
            self._stopping.add(worker)
            self._down(worker, End.CONNECTION, "it stops")
            return
        for route in dict.fromkeys(announcement.routes):  # a worker of others may say one twice
            self._routes.setdefault(route, []).append(worker)
        self._handler.on_linked(worker)
        for channel in list(self._waiting.deadlines):
            self._handler.on_placeable(channel)

    def gone(self, announcement: Announcement) -> None:
        """A node has said goodbye, or nothing more is heard of it."""
        self._incompatible.discard(announcement.node)
        dealer = self._dealers.get(announcement.node)
        if dealer is None:
            return
        if announcement.state == "down":
            # It sends the ends of its channels before the link ends by itself; no new joins.
            self.mark_draining(announcement.node)
        elif dealer.up:
            self._silence.watch(announcement.node)  # the silence may be the proxy's, not the worker's
        else:
            self._down(announcement.node, End.SILENCE, "nothing is heard of it on the bus")

    def _silent(self, worker: str, seconds: float) -> bool:
        """A worker is silent on the bus; whether it is dead depends on its link."""
        dealer = self._dealers.get(worker)
        if dealer is not None:
            dealer.end_if_silent(seconds)
        return worker in self._dealers

    def _down(self, worker: str, end: End, reason: str) -> None:
        dealer = self._dealers.pop(worker, None)
        if dealer is None:
            return
        dealer.close()
        self._unroute(worker)
        self._announcer.placement.forget(worker)
        self._silence.heard(worker)
        if dealer.was_up:  # a worker that only we cannot reach is not lost
            self._announcer.report_lost(worker)
        in_order = worker in self._stopping
        self._stopping.discard(worker)
        if not in_order:
            self._failed(worker, end, dealer.up_seconds, reason)
        elif self._again_later(worker, end, dealer.up_seconds):
            log.warning("worker is gone", worker=worker, reason="it has stopped")
        self._handler.on_lost(worker, dealer.was_up and not in_order and end is not End.BEHIND)

    def _failed(self, worker: str, end: End, up_seconds: float, reason: str) -> None:
        """Logged once, until a link to it has been sound for a while."""
        counters.count("links_failed")
        news = self._again_later(worker, end, up_seconds)
        line = log.debug if not news else log.error if end in (End.PROTOCOL, End.BEHIND) else log.warning
        event = "worker is gone" if up_seconds > 0 else "cannot link to worker"
        line(event, worker=worker, reason=reason, again="less and less often, until a link lasts")

    def _again_later(self, worker: str, end: End, up_seconds: float) -> bool:
        """One that stops in order has to wait as well, in case it comes back under the same id."""
        now = asyncio.get_running_loop().time()
        return self._backoff.failed(worker, end, up_seconds, now, _chance())

    def _is_malformed(self, worker: str, command: Malformed) -> None:
        """The channels that it names end. Logged once for each worker."""
        if worker not in self._malformed:
            self._malformed = {each for each in self._malformed if each in self._dealers} | {worker}
            log.error("worker sends a malformed command: its channel crashes", worker=worker,
                      channels=command.channels[:10], reason=command.reason)  # fmt: skip
        self._handler.on_malformed(worker, command)

    def _not_ours(self, worker: str) -> None:
        """The worker speaks other versions of the link: there is no link to it until it restarts."""
        dealer = self._dealers.pop(worker, None)
        self._stopping.discard(worker)
        live = {each.node for each in self._announcer.placement.nodes()}
        self._incompatible = {each for each in self._incompatible if each in live} | {worker}
        if dealer is not None and dealer.was_up:  # it said so late: channels are there
            self._unroute(worker)
            self._handler.on_lost(worker, True)

    def _unroute(self, worker: str) -> None:
        for route, workers in list(self._routes.items()):
            if worker in workers:
                workers.remove(worker)
            if not workers:
                del self._routes[route]

    def _late(self, channels: list[GatewayChannel]) -> None:
        for channel in channels:
            log.warning("no worker for a join", topic=channel.topic, route=channel.route.pattern)
            self._handler.on_unplaceable(channel)
