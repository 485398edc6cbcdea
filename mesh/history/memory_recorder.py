"""Gives the kept broadcasts of this worker's topics their positions, with the logs in memory.

For the topics that this worker records (succession.py), the recorder gives a broadcast the next offset and
publishes it as recorded; the worker's own broadcasts take no detour. Queries are answered by the recorder
of the topic, whichever worker is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from mesh.app.history import KeptRoute, KeptTopics
from mesh.bus.calls import CallHandler, Calls
from mesh.bus.contract import Bus
from mesh.bus.frames import Received
from mesh.errors import WireError
from mesh.history import messages
from mesh.history.arrivals import Arrivals
from mesh.history.contract import UNREADABLE, Page, Query, decode_page
from mesh.history.memory_store import MemoryStore
from mesh.history.messages import FORGET_HERE, GIVE, INCOMPLETE, READ_HERE, RELEASE, RETURN, SETTLED
from mesh.history.originals import Original
from mesh.history.paging import cut, whole
from mesh.history.records import Records
from mesh.history.returns import Returns
from mesh.history.succession import Succession
from mesh.protocol.messages import Sender
from mesh.settings import HistorySettings

LOOK_SECONDS = 0.05
"""While another worker does not answer, the interval of verifying that it still is the recorder."""


class MemoryRecorder:
    """Records topics in memory; a second worker keeps a copy. Implements Recorder.

    Args:
        bus: publishes what is recorded.
        calls: reaches the other recorders.
        kept: the topics that have a history.
        settings: the settings of histories.
        settle_seconds: how long a starting worker looks for others; 0 if there cannot be any.
    """

    hears_own = False

    def __init__(
        self,
        bus: Bus,
        calls: Calls,
        kept: KeptTopics,
        settings: HistorySettings,
        settle_seconds: float,
    ) -> None:
        self._bus = bus
        self._calls = calls
        self._kept = kept
        self._wait_seconds = settings.wait_seconds
        self._changed = asyncio.Event()
        self.store = MemoryStore(bus.node, settings.max_bytes)
        self.records = Records(bus, self.store, _now, self._on_change)
        self._returns = Returns(calls, self.records.publish_again)
        self.records.on_lost = self._returns.give
        self.succession = Succession(
            bus, calls, kept, self.records, [each.key for each in kept], settle_seconds
        )
        peers = self.succession.peers
        self.on_broadcast = Arrivals(bus.node, kept, self._record).on_broadcast
        self.announced = peers.announced
        self.lost = peers.lost
        self.gone = peers.gone
        self.reported_lost = self.succession.suspect_death
        self._answers: dict[str, Callable[[bytes], Awaitable[bytes]]] = {
            GIVE: self._on_give,
            SETTLED: self._on_settled,
            RELEASE: self._on_release,
            INCOMPLETE: self._on_incomplete,
            RETURN: self._on_return,
            READ_HERE: self._on_read,
            FORGET_HERE: self._on_forget,
        }

    # Broadcasts

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Publish a broadcast of this worker, recorded if it is kept; return its number on the bus."""
        route = self._kept.find(topic)
        if route is None or not route.keeps(event):
            return self._bus.publish(topic, event, codec, data, sender)
        if self.succession.records(topic, route):
            return self.records.record_own(topic, event, codec, data, sender)
        # Before the bus has it: in memory it may be recorded before `publish` returns.
        new = Original(event, codec, data, self._bus.node, self._bus.sequence + 1, sender, _now())
        self.records.wait_for_recorder(topic, new)
        return self._bus.publish(topic, event, codec, data, sender)

    def _record(self, topic: str, route: KeptRoute, new: Original) -> None:
        if self.succession.records(topic, route):
            self.records.record(topic, new)
        else:
            self.records.wait_for_recorder(topic, new)

    def on_recorded(self, topic: str, header: Received, data: bytes) -> None:
        """Handle a recorded broadcast, or a claim, from the bus."""
        if header.origin == self._bus.node:
            return
        route = self._kept.find(topic)
        if route is None:
            return
        if not self.succession.peers.has_announced(header.origin):
            self.records.ignore(topic, header)
        else:
            keep = topic in self.store or self.succession.keeps_copy(topic, route)
            self.records.follow(topic, header, data, route.history, keep)

    # Queries

    async def read(self, query: Query) -> Page:
        """Return a part of a topic's history; UNREADABLE if it cannot be read in time."""
        return await whole(query, self._read)

    async def _read(self, query: Query) -> Page:
        here = partial(self._read_here, query)
        return await self._ask(query.topic, here, READ_HERE, messages.encode(query))

    async def forget(self, topic: str) -> Page:
        """Remove a topic's history, and return its new position; UNREADABLE if that is not possible."""
        here = partial(self._forget_here, topic)
        return await self._ask(topic, here, FORGET_HERE, messages.encode(topic))

    async def _ask(self, topic: str, here: Callable[[], Page | None], call: str, data: bytes) -> Page:
        """Return the answer of the recorder of a topic, whichever worker that is by then."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait_seconds
        while loop.time() < until:
            changed = self._changed
            page = here()
            if page is not None:
                return page
            recorder = self._recorder_elsewhere(topic)
            if recorder is not None:
                page = await self._ask_other(recorder, topic, call, data, until - loop.time())
                if page is not None:
                    return page
            await _set_within(changed, min(0.1, max(0.0, until - loop.time())))
        return UNREADABLE

    async def _ask_other(
        self, recorder: str, topic: str, call: str, data: bytes, seconds: float
    ) -> Page | None:
        """Return the answer of another recorder; None if it has none, or is not the recorder any longer."""
        answer = asyncio.ensure_future(self._calls.call(recorder, call, data, seconds))
        try:
            while not (await asyncio.wait([answer], timeout=LOOK_SECONDS))[0]:
                if topic in self.records.recording or self._recorder_elsewhere(topic) != recorder:
                    return None
            page = decode_page(answer.result())
        except (TimeoutError, WireError):
            return None
        finally:
            answer.cancel()
        return page if page.epoch else None

    def _recorder_elsewhere(self, topic: str) -> str | None:
        """Return another live worker that records the topic, or should."""
        peers, route = self.succession.peers, self._kept.find(topic)
        known = self.records.recorder_of(topic)
        if known is not None and known != self._bus.node and peers.is_live(known):
            return known
        best = peers.ranked(route.key, topic)[:1] if route is not None else []
        return best[0] if best and best[0] != self._bus.node else None

    def _read_here(self, query: Query) -> Page | None:
        route = self._kept.find(query.topic)
        if route is None or not self.succession.records(query.topic, route):
            return None
        return self.store.read_now(query)

    def _forget_here(self, topic: str) -> Page | None:
        route = self._kept.find(topic)
        if route is None or not self.succession.records(topic, route):
            return None
        head = self.records.forget(topic)
        return Page(head.epoch, head.offset, True, [])

    def _on_change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # Calls of other recorders

    def answer_to(self, call: str) -> CallHandler | None:
        """Return what answers the calls of this name between recorders; None for other calls."""
        return self._answers.get(call)

    async def _on_give(self, data: bytes) -> bytes:
        accepted = self.succession.given(messages.decode_give(data))
        self._on_change()
        return messages.encode(messages.Given(accepted))

    async def _on_settled(self, data: bytes) -> bytes:
        self.succession.on_settled(*messages.decode_settled(data))
        self._on_change()
        return b""

    async def _on_release(self, data: bytes) -> bytes:
        self.succession.released(messages.decode_release(data))
        return b""

    async def _on_incomplete(self, data: bytes) -> bytes:
        self.succession.repairs.asked(messages.decode_incomplete(data))
        return b""

    async def _on_return(self, data: bytes) -> bytes:
        returned = messages.decode_returned(data)
        route = self._kept.find(returned.topic)
        if route is None:
            return b""
        for entry in returned.entries:
            new = Original(entry.event, entry.codec, entry.data, entry.origin, entry.sequence, None, _now())
            self._record(returned.topic, route, new)
        return b""

    async def _on_read(self, data: bytes) -> bytes:
        query = messages.decode_query(data)
        page = self._read_here(query)
        return messages.encode(cut(query, page) if page is not None else UNREADABLE)

    async def _on_forget(self, data: bytes) -> bytes:
        page = self._forget_here(messages.decode_topic(data))
        return messages.encode(page if page is not None else UNREADABLE)

    # Start and stop

    def start(self) -> None:
        """Begin, once this worker can receive."""
        self.succession.start()

    async def hand_over(self, seconds: float) -> None:
        """This worker stops: let others record its topics."""
        await self.succession.hand_over_all(seconds)

    async def aclose(self) -> None:
        """Stop."""
        self.succession.close()
        self._returns.close()

    def problem(self) -> str | None:
        """Return why histories cannot be used now; None if they can."""
        return None if self.succession.settled else "waiting for the other workers' histories"

    def gauges(self) -> dict[str, float]:
        """Return values for `/metrics`."""
        return {
            "history_topics": len(self.store),
            "history_bytes": self.store.bytes,
            "history_unrecorded": len(self.records.originals),
        }


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
