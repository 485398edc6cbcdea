"""What one worker records in Redis: opens topics, gives positions, and publishes what is stored.

redis_recorder.py explains how workers take turns, and decides which topics this worker records.
"""

import asyncio
from collections import OrderedDict
from functools import partial
from time import time

from mesh import contexts
from mesh.app.history import History, KeptRoute
from mesh.bus.contract import Bus
from mesh.bus.frames import Recorded
from mesh.errors import HistoryUnavailableError
from mesh.history.contract import Entry, Head, HistoryStore, Query
from mesh.history.log import new_epoch
from mesh.history.originals import Original, Originals
from mesh.history.seen import Seen
from mesh.protocol.messages import JSON, Sender
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

FENCED = 0
"""The term of positions that a store keeps unique."""
RETRY_SECONDS = 1.0
"""The pause after which a topic is opened again while the store is away."""
TAIL = 500
"""The newest entries that a recorder compares with what it has heard when it begins."""
MAX_TOPICS = 100_000
"""The most topics that are open, and the most whose last position is remembered."""


class _Topic:
    """A topic that this worker records.

    Attributes:
        name: the topic.
        route: its route.
        head: the last position that was given here.
        seen: for each publisher, the number of its last broadcast that was recorded.
        ready: whether the topic is open, so that positions can be given.
        opening: opens the topic.
        detached: whether the store is away, so that the epoch is stored nowhere.
    """

    __slots__ = ("detached", "head", "name", "opening", "ready", "route", "seen")

    def __init__(self, name: str, route: KeptRoute) -> None:
        self.name = name
        self.route = route
        self.head = Head("", 0)
        self.seen = Seen()
        self.ready = False
        self.detached = False
        self.opening: asyncio.Task[None] | None = None


class RedisRecords:
    """The topics that a worker records in a shared store.

    Args:
        bus: publishes what is recorded.
        store: the shared store.
        publish_first: whether broadcasts are published before they are stored.

    Attributes:
        originals: the kept broadcasts that were not recorded yet.
    """

    def __init__(self, bus: Bus, store: HistoryStore, publish_first: bool) -> None:
        self.originals = Originals()
        self._bus = bus
        self._store = store
        self._publish_first = publish_first
        self._topics: OrderedDict[str, _Topic] = OrderedDict()
        self._heard: OrderedDict[str, Head] = OrderedDict()

    def __len__(self) -> int:
        return len(self._topics)

    def heard(self, topic: str) -> Head | None:
        """Return the newest position of a topic that was published, as far as this worker knows."""
        return self._heard.get(topic)

    def hear(self, topic: str, head: Head) -> None:
        """A position of a topic was published."""
        before = self._heard.get(topic)
        if before is None or before.epoch != head.epoch or before.offset < head.offset:
            self._heard[topic] = head
            if len(self._heard) > MAX_TOPICS:
                self._heard.popitem(last=False)

    def is_ready(self, topic: str) -> bool:
        """Return whether a topic is open in the store."""
        opened = self._topics.get(topic)
        return opened is not None and opened.ready and not opened.detached

    def is_detached(self, topic: str) -> bool:
        """Return whether a topic goes on in an epoch that is stored nowhere."""
        opened = self._topics.get(topic)
        return opened is not None and opened.detached

    def record(self, topic: str, route: KeptRoute, new: Original) -> None:
        """Record a broadcast, which is in `originals`; opens the topic if that was not done before."""
        opened = self._topics.get(topic)
        if opened is None:
            self._begin(_Topic(topic, route))
        elif opened.ready:
            self._give_position(opened, new)

    def record_waiting(self, topic: str, route: KeptRoute) -> None:
        """Record what waits for a recorder."""
        opened = self._topics.get(topic)
        if opened is None:
            self._begin(_Topic(topic, route))
        elif opened.ready:
            self._give_positions(opened)

    def close_topic(self, topic: str) -> None:
        """Another worker has given a position: open the topic again when it is needed."""
        opened = self._topics.get(topic)
        if opened is not None and opened.ready:
            self._close(opened)

    def claim(self, topic: str, head: Head) -> None:
        """Tell all receivers that a topic has this position, e.g. in a new epoch."""
        self.hear(topic, head)
        position = Recorded(head.epoch, head.offset, FENCED)
        self._bus.publish_recorded(topic, "", JSON, b"", None, position)

    def close(self) -> None:
        """Stop."""
        for opened in self._topics.values():
            if opened.opening is not None:
                opened.opening.cancel()

    def _begin(self, opened: _Topic, pause_seconds: float = 0.0) -> None:
        """Open a topic; what waits for a recorder is recorded then."""
        self._topics[opened.name] = opened
        if len(self._topics) > MAX_TOPICS:
            idle = next(iter(self._topics.values()))
            self._close(idle)
            self._store.drop(idle.name)
        opened.opening = asyncio.get_running_loop().create_task(
            self._open(opened, pause_seconds), name="history", context=contexts.fresh()
        )

    def _give_positions(self, opened: _Topic) -> None:
        """Record what waits for a recorder."""
        for each in self.originals.of(opened.name):
            self._give_position(opened, each)

    def _give_position(self, opened: _Topic, new: Original) -> None:
        if opened.seen.has(new.origin, new.sequence):
            return  # it is being stored
        opened.seen.note(new.origin, new.sequence)
        self._topics.move_to_end(opened.name)
        opened.head = head = Head(opened.head.epoch, opened.head.offset + 1)
        entry = Entry(head.offset, new.event, new.codec, new.data, new.origin, new.sequence, time())
        if opened.detached:
            counters.count("history_store_failures")
            self._publish(opened.name, head, entry, new.sender)
            return
        if self._publish_first:
            self._publish(opened.name, head, entry, new.sender)
        self._store.append(opened.name, [entry], partial(self._stored, opened, head, entry, new.sender))

    def _stored(
        self, opened: _Topic, head: Head, entry: Entry, sender: Sender | None, success: bool
    ) -> None:
        if success:
            if not self._publish_first:
                self._publish(opened.name, head, entry, sender)
        elif self._topics.get(opened.name) is opened:
            # Somebody else has given the offset, or the store is away: then go on without it.
            self._close(opened)
            away = bool(self._store.problem()) or self._publish_first
            again = _Topic(opened.name, opened.route)
            self._begin(again, RETRY_SECONDS if away else 0.0)
            if away:
                self._detach(again)

    def _publish(self, topic: str, head: Head, entry: Entry, sender: Sender | None) -> None:
        counters.count("history_broadcasts_recorded")
        self.hear(topic, head)
        self.originals.remove(topic, entry.origin, entry.sequence)
        position = Recorded(head.epoch, head.offset, FENCED, entry.origin, entry.sequence)
        self._bus.publish_recorded(topic, entry.event, entry.codec, entry.data, sender, position)

    # Opening a topic

    async def _open(self, opened: _Topic, pause_seconds: float) -> None:
        """Open a topic, publish what an earlier recorder has stored only, and record what waits."""
        topic = opened.name
        while self._topics.get(topic) is opened:
            await asyncio.sleep(pause_seconds)
            pause_seconds = RETRY_SECONDS
            try:
                head, tail = await self._read_tail(topic, opened.route.history)
            except HistoryUnavailableError as error:
                if not opened.detached:
                    log.error("history cannot be kept now", topic=topic, reason=str(error))
                    self._detach(opened)
                continue
            if self._topics.get(topic) is opened:
                opened.head, opened.seen = head, Seen()
                for each in tail:
                    opened.seen.note(each.origin, each.sequence)
                opened.ready, opened.detached = True, False
                self._publish_unheard(topic, head, tail)
                self._give_positions(opened)
            return

    async def _read_tail(self, topic: str, history: History) -> tuple[Head, list[Entry]]:
        head = await self._store.open(topic, history)
        heard = self._heard.get(topic)
        if heard is not None and (heard.epoch != head.epoch or heard.offset > head.offset):
            # Broadcasts were sent that are stored nowhere.
            head = await self._store.forget(topic)
            counters.count("history_epochs_begun")
            self.claim(topic, head)
            return head, []
        page = await self._store.read(Query(topic, limit=TAIL))
        return Head(page.epoch, page.offset), page.entries

    def _publish_unheard(self, topic: str, head: Head, tail: list[Entry]) -> None:
        heard = self._heard.get(topic)
        waiting = {(each.origin, each.sequence): each.sender for each in self.originals.of(topic)}
        for entry in tail:
            key = entry.origin, entry.sequence
            if key in waiting or (heard is not None and entry.offset > heard.offset):
                self._publish(topic, Head(head.epoch, entry.offset), entry, waiting.get(key))

    def _detach(self, opened: _Topic) -> None:
        """The store is away: go on in an epoch that is stored nowhere."""
        opened.head, opened.seen = Head(new_epoch(), 0), Seen()
        opened.ready = opened.detached = True
        counters.count("history_epochs_begun")
        self._give_positions(opened)

    def _close(self, opened: _Topic) -> None:
        if self._topics.get(opened.name) is opened:
            del self._topics[opened.name]
