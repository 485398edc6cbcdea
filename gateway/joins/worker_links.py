"""The links to the workers, the placement of channels on them, and the joins that wait for a worker.

A worker is used once its link is up. Its death is detected by the end of the link's connection, not by
missing announcements. A worker whose link keeps ending is retried with growing delays. A join for which
there is no worker waits for a limited time.
"""

import asyncio
import random
from typing import Protocol

import zmq

from mesh.bus.discovery.announcements import Announcer
from mesh.bus.discovery.placement import Announcement, choose
from mesh.errors import MeshError
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import Phase
from mesh.gateway.joins.pending import PendingJoins
from mesh.gateway.joins.unreachable_workers import UnreachableWorkers
from mesh.link import commands
from mesh.link.backoff import Backoff, End
from mesh.link.dealer import Dealer
from mesh.link.handlers import DealerHandlers
from mesh.link.malformed import Malformed
from mesh.link.silence import Silence
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)
_chance = random.SystemRandom().random


class LinkHandler(Protocol):
    """Handles the events of the links; implemented by the hub."""

    def on_command(self, worker: str, command: commands.ToGateway) -> None:
        """Handle a command from a worker."""

    def on_malformed(self, worker: str, command: Malformed) -> None:
        """Handle a malformed command that names the channels it concerns."""

    def on_lost(self, worker: str, died: bool) -> None:
        """Handle the loss of a worker; `died` unless it stopped in order or was too far behind."""

    def on_placeable(self, channel: GatewayChannel) -> None:
        """Place a channel that has waited for a worker."""

    def on_unplaceable(self, channel: GatewayChannel) -> None:
        """Handle a channel for which no worker was found in time."""

    def on_linked(self, worker: str) -> None:
        """Handle a link that is up."""

    def on_behind(self, worker: str, behind: bool) -> None:
        """Handle a worker that is behind, or that has caught up."""


class WorkerLinks:
    """The workers that a gateway is linked to.

    Args:
        handler: handles the events of the links.
        context: the context of ZeroMQ sockets.
        gateway: this gateway's id.
        announcer: knows the announced workers.
        settings: the settings of links.
        worker_wait_seconds: how long a join waits for a worker.
        max_joins_waiting: the limit of the joins that wait.
        silence_seconds: how long a worker may be silent on the bus before its link is checked.
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
        """Return the worker for a channel; None if it must wait, and the handler is called later."""
        deadline = self._waiting.deadlines.pop(channel, None)
        route = channel.route
        candidates = self._routes.get((mount, route.pattern))
        if candidates and channel.phase is Phase.MOVING:
            candidates = [each for each in candidates if self._dealers[each].version >= commands.MOVES]
            if not candidates:  # only versions that cannot take over its state
                asyncio.get_running_loop().call_soon(self._handler.on_unplaceable, channel)
                return None
        if not candidates:
            if len(self._waiting.deadlines) < self._max_joins_waiting:
                self._waiting.add(channel, deadline)
            else:
                asyncio.get_running_loop().call_soon(self._handler.on_unplaceable, channel)
            return None
        if self._backoff:  # prefer workers whose links do not keep ending
            candidates = [each for each in candidates if not self._backoff.avoids(each)] or candidates
        key = channel.topic if route.channel.spread == "topic" else socket_key
        return choose(key, candidates)

    def send(self, worker: str, command: commands.ToWorker) -> None:
        """Queue a command. It is dropped if the worker is gone, which has been reported to the handler."""
        dealer = self._dealers.get(worker)
        if dealer is not None:
            dealer.batches.add(command)

    def tell_all(self, command: commands.TopicPaused | commands.TopicResumed) -> None:
        """Queue a command for every worker whose link is up and has a version with this command."""
        for worker in self._dealers:
            self.tell(worker, command)

    def tell(self, worker: str, command: commands.TopicPaused | commands.TopicResumed) -> None:
        """Queue a command for one worker, if its link is up and has a version with this command."""
        dealer = self._dealers.get(worker)
        if dealer is not None and dealer.up and dealer.version >= commands.BACK_PRESSURE:
            dealer.batches.add(command)

    @property
    def waiting_bytes(self) -> int:
        """The bytes that wait for all workers together."""
        return sum(dealer.batches.waiting_bytes for dealer in self._dealers.values())

    @property
    def links(self) -> int:
        """The number of links that are up."""
        return sum(dealer.up for dealer in self._dealers.values())

    def serves(self, mount: str, pattern: str) -> bool:
        """Return whether there is a worker for this route."""
        return bool(self._routes.get((mount, pattern)))

    def unheard(self) -> list[str]:
        """Return the linked workers that are silent on the bus, so that their broadcasts do not arrive."""
        routed = {worker for workers in self._routes.values() for worker in workers}
        return sorted(worker for worker in routed if self._announcer.placement.get(worker) is None)

    def linked(self, worker: str) -> bool:
        """Return whether there is a link to this node."""
        return worker in self._dealers

    def received(self, worker: str) -> int:
        """Return how many commands a worker has sent on its current link."""
        dealer = self._dealers.get(worker)
        return dealer.received if dealer is not None else 0

    def mark_draining(self, worker: str) -> None:
        """Send no new joins to a worker that has announced on its link that it is stopping."""
        if worker in self._dealers:
            self._stopping.add(worker)
        self._unroute(worker)

    def forget(self, channel: GatewayChannel) -> None:
        """Remove a channel that no longer waits."""
        self._waiting.deadlines.pop(channel, None)

    def close(self) -> None:
        """End all links."""
        self._waiting.deadlines.clear()
        self._silence.close()
        for dealer in list(self._dealers.values()):
            dealer.close()
        self._dealers.clear()
        self._routes.clear()

    # The start and end of workers

    def announced(self, announcement: Announcement) -> None:
        """Handle an announcement: link to the node if it is a worker without a link."""
        worker = announcement.node
        if announcement.kind != "worker" or announcement.link is None or worker in self._incompatible:
            return
        dealer = self._dealers.get(worker)
        if dealer is not None:
            self._silence.unwatch(worker)
            if self._backoff and dealer.up and self._backoff.sound(worker, dealer.up_seconds):
                log.info("link to worker is stable again", worker=worker)
            return
        if self._backoff and self._backoff.waits(worker, asyncio.get_running_loop().time()):
            return
        if self._unreachable.is_unreachable(worker, announcement.link, announcement.machine):
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
        except (MeshError, zmq.ZMQError) as error:  # e.g. too many open files
            self._failed(worker, End.CONNECTION, 0.0, str(error))

    def _up(self, worker: str) -> None:
        announcement = self._announcer.placement.get(worker)
        if announcement is None:  # it announced its end while we were connecting
            self._stopping.add(worker)
            self._down(worker, End.CONNECTION, "it is stopping")
            return
        for route in dict.fromkeys(announcement.routes):  # a foreign worker may announce a route twice
            self._routes.setdefault(route, []).append(worker)
        self._handler.on_linked(worker)
        for channel in list(self._waiting.deadlines):
            self._handler.on_placeable(channel)

    def gone(self, announcement: Announcement) -> None:
        """Handle the end of a node that has announced its end, or that is silent on the bus."""
        self._incompatible.discard(announcement.node)
        dealer = self._dealers.get(announcement.node)
        if dealer is None:
            return
        if announcement.state == "down":
            # It takes no new joins, and ends its channels before it closes the link.
            self.mark_draining(announcement.node)
        elif dealer.up:
            self._silence.watch(announcement.node)  # the proxy may be at fault, not the worker
        else:
            self._down(announcement.node, End.SILENCE, "it is silent on the bus")

    def _silent(self, worker: str, seconds: float) -> bool:
        """Check the link of a worker that is silent on the bus; return whether it is still linked."""
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
        self._silence.unwatch(worker)
        if dealer.was_up:  # a worker that was never reached may be reachable for others
            self._announcer.report_lost(worker)
        in_order = worker in self._stopping
        self._stopping.discard(worker)
        if not in_order:
            self._failed(worker, end, dealer.up_seconds, reason)
        elif self._again_later(worker, end, dealer.up_seconds):
            log.warning("worker is gone", worker=worker, reason="it has stopped")
        self._handler.on_lost(worker, dealer.was_up and not in_order and end is not End.BEHIND)

    def _failed(self, worker: str, end: End, up_seconds: float, reason: str) -> None:
        """Count and log a failed link; logged once until a link to the worker has been stable."""
        counters.count("links_failed")
        news = self._again_later(worker, end, up_seconds)
        line = log.debug if not news else log.error if end in (End.PROTOCOL, End.BEHIND) else log.warning
        event = "worker is gone" if up_seconds > 0 else "cannot link to worker"
        line(event, worker=worker, reason=reason, again="with growing delays, until a link lasts")

    def _again_later(self, worker: str, end: End, up_seconds: float) -> bool:
        """Delay the next link to this worker, also after an orderly stop, in case its id is used again."""
        now = asyncio.get_running_loop().time()
        return self._backoff.failed(worker, end, up_seconds, now, _chance())

    def _is_malformed(self, worker: str, command: Malformed) -> None:
        """Report a malformed command, which ends the channels that it names; logged once per worker."""
        if worker not in self._malformed:
            self._malformed = {each for each in self._malformed if each in self._dealers} | {worker}
            log.error("worker sends a malformed command: its channel crashes", worker=worker,
                      channels=command.channels[:10], reason=command.reason)  # fmt: skip
        self._handler.on_malformed(worker, command)

    def _not_ours(self, worker: str) -> None:
        """Give up a worker with incompatible versions of the link, until it restarts."""
        dealer = self._dealers.pop(worker, None)
        self._stopping.discard(worker)
        live = {each.node for each in self._announcer.placement.nodes()}
        self._incompatible = {each for each in self._incompatible if each in live} | {worker}
        if dealer is not None and dealer.was_up:  # it has channels already
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
            log.warning("no worker for a join in time", topic=channel.topic, route=channel.route.pattern)
            self._handler.on_unplaceable(channel)
