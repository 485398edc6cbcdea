"""Gives the kept broadcasts of this worker's topics their positions, with the histories in Redis.

The worker that rendezvous hashing puts first for a topic records it. It needs no handover and no copy: when
it begins, it reads the last offset from Redis, and Redis refuses an offset that was given before, so that
two workers which both believe themselves first cannot give the same one. The positions of all of them
belong to one sequence, therefore their term is 0 (`Recorded.term`): receivers compare only the positions.

**A broadcast** is published as usual by its publisher; the recorder stores it, and publishes it as recorded
when Redis has confirmed it. With `history.publish_first` it is published at once, and stored afterwards.

**Another worker takes over** when the first is gone. What that one had stored and not published any more is
at the end of the stream: the new recorder publishes it before it continues.

**While Redis is away**, broadcasts go on, in an epoch that is stored nowhere. So no client can recover
across that time: its position is in an epoch that Redis does not know, and when Redis is back, the topic
begins a new epoch.
"""

import asyncio

from mesh.app.history import KeptRoute, KeptTopics
from mesh.bus.calls import CallHandler
from mesh.bus.contract import Bus
from mesh.bus.frames import Received, original
from mesh.errors import HistoryUnavailableError
from mesh.history import arrivals
from mesh.history.arrivals import Arrivals
from mesh.history.contract import UNREADABLE, Head, HistoryStore, Page, Query
from mesh.history.originals import Original
from mesh.history.peers import Peers, unannounced
from mesh.history.redis_records import RedisRecords
from mesh.protocol.messages import Sender
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

TICK_SECONDS = 0.25


class RedisRecorder:
    """Records topics in a store that all workers share. Implements Recorder.

    Args:
        bus: publishes what is recorded.
        kept: the topics that have a history.
        store: the shared store.
        publish_first: whether broadcasts are published before they are stored.
    """

    hears_own = True

    def __init__(self, bus: Bus, kept: KeptTopics, store: HistoryStore, publish_first: bool) -> None:
        self._bus = bus
        self._kept = kept
        self._store = store
        self._records = RedisRecords(bus, store, publish_first)
        self._peers = Peers(bus.node, [each.key for each in kept], self._record_waiting)
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.on_broadcast = Arrivals(bus.node, kept, self._take).on_broadcast
        self.announced = self._peers.announced
        self.lost = self._peers.lost
        self.gone = self._peers.gone

    # Broadcasts

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Publish a broadcast of this worker, and have it recorded if it is kept."""
        number = self._bus.publish(topic, event, codec, data, sender)
        route = self._kept.find(topic)
        if route is not None and route.keeps(event):
            self._take(topic, route, Original(event, codec, data, self._bus.node, number, sender, _now()))
        return number

    def on_recorded(self, topic: str, header: Received, data: bytes) -> None:
        """Handle a recorded broadcast, or a claim, from the bus."""
        position, first = header.recorded, original(header)
        assert position is not None, topic
        if header.origin != self._bus.node and not self._peers.has_announced(header.origin):
            unannounced(topic, header.origin)
            if header.event and self._records.heard(topic) is None:  # perhaps this worker has just started
                self._records.originals.remove(topic, first.origin, first.sequence)
            return
        self._records.hear(topic, Head(position.epoch, position.offset))
        if header.origin == self._bus.node:
            return
        if header.event:
            self._records.originals.remove(topic, first.origin, first.sequence)
        self._records.close_topic(topic)

    def _take(self, topic: str, route: KeptRoute, new: Original) -> None:
        dropped = self._records.originals.add(topic, new)
        if dropped:
            counters.count("history_originals_dropped", dropped)
        if self._is_first(topic, route):
            self._records.record(topic, route, new)

    def _is_first(self, topic: str, route: KeptRoute) -> bool:
        return not self._stopping and self._peers.ranked(route.key, topic)[:1] == [self._bus.node]

    # Timer

    def _record_waiting(self) -> None:
        """Record what waits for a recorder, on the topics that belong to this worker."""
        for topic in self._records.originals:
            route = self._kept.find(topic)
            if route is not None and self._is_first(topic, route):
                self._records.record_waiting(topic, route)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)
        arrivals.expire(self._records.originals, loop.time())
        self._record_waiting()

    # Queries

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history; UNREADABLE if it cannot be read."""
        route = self._kept.find(query.topic)
        if route is None:
            return UNREADABLE
        if self._records.is_detached(query.topic):
            return UNREADABLE
        try:
            if not self._records.is_ready(query.topic):
                await self._store.open(query.topic, route.history)
            page = await self._store.read(query)
        except HistoryUnavailableError:
            return UNREADABLE
        heard = self._records.heard(query.topic)
        if heard is not None and heard.epoch != page.epoch:
            return Page(page.epoch, page.offset, False, [])
        return page

    async def forget(self, topic: str) -> Page:
        """Remove a topic's history, and return its new position; UNREADABLE if that is not possible."""
        route = self._kept.find(topic)
        if route is None:
            return UNREADABLE
        try:
            await self._store.open(topic, route.history)
            head = await self._store.forget(topic)
        except HistoryUnavailableError:
            return UNREADABLE
        counters.count("history_epochs_begun")
        self._records.close_topic(topic)
        self._records.claim(topic, head)
        return Page(head.epoch, head.offset, True, [])

    # Other nodes

    def reported_lost(self) -> None:
        """No effect: the store decides between two recorders."""

    def answer_to(self, call: str) -> CallHandler | None:
        """Return None: recorders that share a store do not call each other."""
        return None

    # Start and stop

    def start(self) -> None:
        """Begin, once this worker can receive."""
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        self._store.problem()  # connects

    async def hand_over(self, seconds: float) -> None:
        """This worker stops: record nothing more, and publish what is stored."""
        self._stopping = True
        try:
            async with asyncio.timeout(seconds):
                await self._store.flush()
        except TimeoutError:
            log.warning("broadcasts were not stored in time", seconds=seconds)

    async def aclose(self) -> None:
        """Stop."""
        self._peers.close()
        if self._timer is not None:
            self._timer.cancel()
        self._records.close()
        await self._store.aclose()

    def problem(self) -> str | None:
        """Return why histories cannot be kept now; None if they can."""
        return self._store.problem() or None

    def gauges(self) -> dict[str, float]:
        """Return values for `/metrics`."""
        records = self._records
        return {
            "history_topics": len(records),
            "history_bytes": 0,
            "history_unrecorded": len(records.originals),
        }


def _now() -> float:
    return asyncio.get_running_loop().time()
