"""Which worker records a topic: one at a time, even while workers start, stop and die.

**Who should.** Rendezvous hashing ranks the workers of a topic's route. The first should record it, so that
the broadcasts of its own channels need no detour; the second should keep the copy.

**Who does.** A worker records a topic from the moment at which it begins to (`Records.begin`) until it
hands the topic over or dies. The right to record is handed over explicitly, so that workers which do not
know each other yet never record the same topic. Five rules:

1. *A new topic.* The first worker begins to record a topic that nobody records, if it knows that nobody
   does: all workers have the same view, and each has told the others that it has handed over what they
   should have (`SETTLED`). A view is the set of live workers; after each change the workers tell each other
   again.
2. *The copy.* The recorder gives its log to the second worker, and then what was recorded meanwhile. From
   then on the second adds what it hears. If it has missed something, it asks for the log again.
3. *A better recorder.* When a worker starts that should record a topic, the recorder waits for a probe, so
   that it has recorded all that the other one may not have heard; then it stops recording and gives the log
   away. It keeps the copy.
4. *The death of the recorder.* The worker with the copy waits for a probe: what the dead worker had brought
   to a proxy comes before it. Then it begins to record, in the same epoch if its copy is complete, and
   records what was published and not recorded. It begins a new epoch if the dead worker published through a
   proxy from which this one does not receive.
5. *A process that was frozen* may have been believed dead. It records nothing until a probe has come back,
   because the claims of its successors come before it.

Nobody waits for a worker that does not answer: handovers have a time limit, and are offered again. No topic
belongs to a worker that announces itself and never sends anything.
"""

import asyncio

from mesh import contexts
from mesh.app.history import KeptRoute, KeptTopics
from mesh.bus.calls import Calls
from mesh.bus.contract import Bus
from mesh.bus.delivery import subscribed
from mesh.history import arrivals, messages
from mesh.history.handovers import Handovers
from mesh.history.messages import RECORD, Give, Release
from mesh.history.peers import Peers
from mesh.history.records import Records
from mesh.history.repairs import Repairs
from mesh.history.takeovers import Takeovers
from mesh.history.view_phases import FIRST, TABLE, Action, Event, Phase
from mesh.phases import Phases
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

TICK_SECONDS = 0.25
FROZEN_SECONDS = 1.5
"""A longer time between two ticks means that the process was frozen. Less than the time after which a
silent worker counts as dead, `bus.node_down_seconds`."""
STUCK_SECONDS = 1.0
"""A broadcast that nobody has recorded for this long is recorded by the first worker."""
FORCED_SECONDS = 6.0
"""After a change of the view, a worker waits at most this long for the others to have the same view."""
REPEAT_SECONDS = 8.0
"""How long after a change of the view SETTLED is repeated."""
TRIMMED_PER_TICK = 200


class Succession:
    """Begins and ends the recording of topics.

    Args:
        bus: carries probes.
        calls: carries logs.
        kept: the topics that have a history.
        records: the logs of this worker.
        routes: the keys of the routes whose topics it records.
        settle_seconds: how long a starting worker looks for others; 0 if there cannot be any.
    """

    def __init__(
        self,
        bus: Bus,
        calls: Calls,
        kept: KeptTopics,
        records: Records,
        routes: list[tuple[str, str]],
        settle_seconds: float,
    ) -> None:
        self.peers = Peers(bus.node, routes, self._view_changed)
        self._bus = bus
        self._calls = calls
        self._kept = kept
        self._records = records
        self._takeovers = Takeovers(bus, kept, records, self.peers)
        self._handovers = Handovers(bus.node, calls, kept, records, self.peers)
        self.repairs = Repairs(bus.node, calls, records, self.peers)
        self._settle_seconds = settle_seconds
        self._told: dict[str, str] = {}
        self._phases = Phases(TABLE, *FIRST)
        self._started_at = self._changed_at = self._tick_at = float("-inf")
        self._frozen = False
        self._work = asyncio.Event()
        self._passing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, once this worker can receive."""
        loop = asyncio.get_running_loop()
        self._started_at = self._changed_at = self._tick_at = loop.time()
        self._task = loop.create_task(self._run(), name="history", context=contexts.fresh())
        self._timer = loop.call_later(TICK_SECONDS, self._tick)
        if not self._settle_seconds:
            self._check_settled()

    def close(self) -> None:
        """Stop."""
        self.peers.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    @property
    def settled(self) -> bool:
        """Whether this worker knows which topics the others record."""
        return self._phases.phase is Phase.SETTLED

    # Decisions of the moment

    def records(self, topic: str, route: KeptRoute) -> bool:
        """Return whether this worker may record a broadcast now; begin to record a new topic if it may."""
        if self._frozen or asyncio.get_running_loop().time() - self._tick_at > FROZEN_SECONDS:
            self._frozen = True
            self._work.set()
            return False
        if topic in self._records.recording:
            return True
        if not self._may_begin(topic, route):
            return False
        self._records.begin(topic, route.history)
        return True

    def _may_begin(self, topic: str, route: KeptRoute) -> bool:
        if not self.settled or self._records.store.get(topic) is not None:
            return False
        if self.peers.ranked(route.key, topic)[:1] != [self._bus.node]:
            return False
        recorder = self._records.recorder_of(topic)
        return recorder is None or recorder == self._bus.node or not self.peers.is_live(recorder)

    def keeps_copy(self, topic: str, route: KeptRoute) -> bool:
        """Return whether this worker should keep the copy of a topic."""
        return self._bus.node in self.peers.ranked(route.key, topic)

    def suspect_death(self) -> None:
        """Another node has reported this worker as lost: others may record its topics now."""
        self._frozen = True
        self._work.set()

    # The view

    def _view_changed(self) -> None:
        self._handle(Event.VIEW_CHANGED)
        self._told.clear()  # a view that was left and has returned must be agreed on again
        self._changed_at = asyncio.get_running_loop().time()
        self._work.set()

    def on_settled(self, node: str, digest: str) -> None:
        """Another worker has handed over what this one should have, in its view."""
        late = self._told.get(node) != digest and not self._repeats()
        if len(self._told) > 1_000:
            self._told = {each: told for each, told in self._told.items() if self.peers.is_live(each)}
        self._told[node] = digest
        self.peers.spoke(node)
        if late and self._phases.phase is not Phase.REVIEWING:
            self._tell(node)  # its view has changed long after ours
        self._check_settled()

    def _repeats(self) -> bool:
        return asyncio.get_running_loop().time() - self._changed_at < REPEAT_SECONDS

    def _check_settled(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._phases.phase is not Phase.AGREEING or now - self._started_at < self._settle_seconds:
            return
        missing = [each for each in self.peers.expected if self._told.get(each) != self.peers.digest]
        if missing and now - self._changed_at < FORCED_SECONDS:
            return
        if missing:
            log.warning("workers do not agree on who records which topic", workers=missing)
            for each in missing:
                self.peers.answers_nothing(each)
            if self._phases.phase is not Phase.AGREEING:
                return  # without them, topics belong to other workers
        self._handle(Event.AGREED)

    def _handle(self, event: Event) -> None:
        for action in self._phases.handle(event):
            if action is Action.TELL_OTHERS:
                self._tell_others()
            else:
                self._begin_waiting()

    def _begin_waiting(self) -> None:
        """Record what waits for a recorder, on topics that nobody records."""
        for topic in self._records.originals:
            route = self._kept.find(topic)
            if route is not None and self._may_begin(topic, route):
                self._records.begin(topic, route.history)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now, records = loop.time(), self._records
        if now - self._tick_at > FROZEN_SECONDS:
            self._frozen = True
        self._tick_at = now
        self._timer = loop.call_later(TICK_SECONDS, self._tick)
        records.store.trim_some(TRIMMED_PER_TICK)
        arrivals.expire(records.originals, now)
        self._check_settled()
        self._rescue(now)
        self.repairs.tick(now)
        if self._repeats() and self._phases.phase is not Phase.REVIEWING:
            self._tell_others()
        if records.unconfirmed or self._frozen:
            self._work.set()

    def _rescue(self, now: float) -> None:
        """Record what another worker should have recorded, and has not."""
        if not self.settled:
            return
        for topic in self._records.originals:
            since, route = self._records.originals.waits_since(topic), self._kept.find(topic)
            if since is None or now - since < STUCK_SECONDS or route is None:
                continue
            mine = self.peers.ranked(route.key, topic)[:1] == [self._bus.node]
            if mine and topic not in self._records.recording and not self._frozen:
                self._records.begin(topic, route.history, provable=False)

    # The task

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                async with self._passing:
                    await self._pass()
            except Exception as error:
                counters.count("handlers_failed")
                log.error("handing topics over failed", exc_info=error)
                await asyncio.sleep(TICK_SECONDS)

    async def _pass(self) -> None:
        review, digest = self._phases.phase is Phase.REVIEWING, self.peers.digest
        if self._phases.phase is Phase.STOPPING:
            return
        if review or self._frozen:
            await subscribed(self._bus)
            if self._frozen:
                self._thaw()
        if review:
            await self._takeovers.take_over()
            await self._handovers.give(list(self._records.recording))
            if digest == self.peers.digest:
                self._handle(Event.REVIEWED)
                self._check_settled()
        else:
            await self._handovers.give(list(self._records.unconfirmed))

    def _thaw(self) -> None:
        """The claims of successors have arrived: continue to record what nobody else has claimed."""
        self._frozen = False
        self._tick_at = self._changed_at = asyncio.get_running_loop().time()  # SETTLED is repeated
        for topic in self._records.originals:
            if topic in self._records.recording:
                self._records.record_waiting(topic)

    def _tell_others(self) -> None:
        for node in self.peers.others:
            self._tell(node)

    def _tell(self, node: str) -> None:
        view = self._bus.node, self.peers.digest
        self._calls.cast(node, messages.SETTLED, messages.encode(view))

    # Logs from others

    def given(self, give: Give) -> bool:
        """Take logs that another worker gives; return False if this worker takes none."""
        if self._phases.phase is Phase.STOPPING:
            return False
        records = self._records
        for topic, snapshot in give.logs:
            route, known = self._kept.find(topic), records.store.get(topic)
            if route is None or not self.peers.has_announced(snapshot.recorder):
                continue
            if topic in records.recording:
                if known is not None and not known.supersedes(snapshot.term, snapshot.recorder):
                    continue
                records.end(topic)
            records.take(topic, route.history, snapshot)
            if give.role == RECORD:
                records.begin(topic, route.history)
        return True

    def released(self, release: Release) -> None:
        """Drop copies that another worker keeps now."""
        for topic in release.topics if self.peers.is_live(release.recorder) else ():
            recorder = self._records.recorder_of(topic)
            if recorder == release.recorder or recorder is None or not self.peers.is_live(recorder):
                self._records.release(topic)

    # Stopping

    async def hand_over_all(self, seconds: float) -> None:
        """This worker stops: end the recording of every topic, so that others continue it.

        A topic whose copy is confirmed needs no transfer: the worker with the copy begins to record it when
        this one announces its end.
        """
        self._handle(Event.STOP)
        self.peers.refused(self._bus.node)
        try:
            async with asyncio.timeout(seconds), self._passing:
                recording = self._records.recording.items()
                alone = [each for each, second in recording if not (second and self.peers.is_live(second))]
                await self._handovers.give(alone)
                for topic in list(self._records.recording):
                    self._records.end(topic)
                await subscribed(self._bus)
        except TimeoutError:
            log.warning("histories were not handed over in time", seconds=seconds)
