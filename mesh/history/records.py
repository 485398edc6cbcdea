"""What one worker records and copies: the only writer of its logs.

A kept broadcast is *original* when its publisher sends it, and *recorded* when the recorder of its topic
has given it a position and published it again. For each topic this worker is its recorder (`recording`),
has a copy (it has a log, but is not the recorder), or neither. succession.py decides which.

**Two recorders.** When a worker that was believed dead still records, receivers follow the one with the
greater (term, node id). The other one notices as soon as it receives a recorded broadcast or a claim of the
first, and gives the topic up: it returns what its own channels broadcast and the first one perhaps does not
have (returns.py). If a position was given to two different broadcasts, the winner begins a new epoch,
because a client may have either.
"""

from collections import OrderedDict
from collections.abc import Callable

from mesh.app.history import History
from mesh.bus.contract import Bus
from mesh.bus.frames import Received, Recorded, original
from mesh.history.contract import Entry, Head
from mesh.history.log import Log, next_term
from mesh.history.memory_store import MemoryStore
from mesh.history.originals import Original, Originals
from mesh.history.peers import unannounced
from mesh.history.snapshot import Snapshot
from mesh.protocol.messages import JSON, Sender
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

MAX_HEARD = 100_000
"""The most topics without a log here whose recorder is remembered."""
RECLAIM_SECONDS = 1.0
"""The least time between two claims of a topic against a recorder of an earlier term."""


class Records:
    """The logs of a worker, and the broadcasts that were not recorded yet.

    Args:
        bus: publishes what is recorded.
        store: keeps the logs.
        clock: returns the time in seconds.
        on_change: called when this worker begins to record a topic, or another recorder of one is heard.

    Attributes:
        recording: for each topic that this worker records, the worker that is known to have a copy, if any.
        unconfirmed: the topics in `recording` without a confirmed copy.
        incomplete: the topics whose copies here miss entries, and when that was noticed or asked for.
        originals: the kept broadcasts that were not recorded yet.
        on_lost: called with a worker that has replaced this one, the topic, and the broadcasts of this
            worker that the other one has perhaps not recorded.
    """

    def __init__(
        self, bus: Bus, store: MemoryStore, clock: Callable[[], float], on_change: Callable[[], None]
    ) -> None:
        self.recording: dict[str, str | None] = {}
        self.unconfirmed: dict[str, None] = {}
        self.incomplete: dict[str, float] = {}
        self.originals = Originals()
        self.on_lost: Callable[[str, str, list[Entry]], None] = lambda *_: None
        self.store = store
        store.on_dropped = self._dropped
        self._bus = bus
        self._clock = clock
        self._on_change = on_change
        self._heard: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._claimed_at: OrderedDict[str, float] = OrderedDict()

    def recorder_of(self, topic: str) -> str | None:
        """Return the worker that records a topic, as far as this one knows."""
        known = self.store.get(topic)
        if known is not None:
            return known.recorder
        heard = self._heard.get(topic)
        return heard[0] if heard is not None else None

    # Recording

    def record_own(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Record and publish a broadcast of this worker; return its number on the bus."""
        bus, store = self._bus, self.store
        entry = store.record(topic, event, codec, data, bus.node, bus.sequence + 1)
        known = store.get(topic)
        assert entry is not None, topic  # its number is new
        assert known is not None, topic
        counters.count("history_broadcasts_recorded")
        position = Recorded(known.epoch, entry.offset, known.term)
        return bus.publish_recorded(topic, event, codec, data, sender, position)

    def record(self, topic: str, new: Original) -> None:
        """Record and publish a broadcast of any node, unless that was done before."""
        event, codec, data, origin, sequence, sender, _ = new
        entry = self.store.record(topic, event, codec, data, origin, sequence)
        known = self.store.get(topic)
        if entry is None or known is None:
            return
        counters.count("history_broadcasts_recorded")
        position = Recorded(known.epoch, entry.offset, known.term, origin, sequence)
        self._bus.publish_recorded(topic, event, codec, data, sender, position)

    def wait_for_recorder(self, topic: str, new: Original) -> None:
        """Remember a broadcast that another worker must record, or this one later."""
        known = self.store.get(topic)
        if known is None or not known.is_recorded(new.origin, new.sequence):
            dropped = self.originals.add(topic, new)
            if dropped:
                counters.count("history_originals_dropped", dropped)

    def begin(self, topic: str, history: History, provable: bool = True) -> None:
        """Begin to record a topic: continue its log, and record what was published meanwhile.

        Args:
            topic: the topic.
            history: its limits.
            provable: whether the log certainly has everything that an earlier recorder recorded. If not, or
                if the log is not complete, the topic begins a new epoch.
        """
        node, known = self._bus.node, self.store.get(topic)
        if known is None:
            heard = self._heard.pop(topic, None)
            known = Log(node, next_term(heard[1]) if heard is not None else 1)
            self.store.put(topic, history, known)
            counters.count("history_epochs_begun")
            fresh = heard is None
        else:
            fresh = False
            if provable and known.complete:
                known.begin_term(node)
            else:
                log.warning("history begins a new epoch: it may not be complete", topic=topic)
                counters.count("history_epochs_begun")
                self.store.change(topic, lambda each: each.forget(node))
        self.recording[topic] = None
        self.unconfirmed[topic] = None
        if not fresh:
            self._claim(topic)
        self.record_waiting(topic)
        self._on_change()

    def record_waiting(self, topic: str) -> None:
        """Record what was published while nobody recorded the topic."""
        for each in self.originals.take(topic):
            self.record(topic, each)

    def end(self, topic: str) -> None:
        """Stop recording a topic; the log remains, as a copy."""
        self.recording.pop(topic, None)
        self.unconfirmed.pop(topic, None)

    def handed_over(self, topic: str, recorder: str) -> None:
        """Another worker has taken a topic that this one recorded."""
        known = self.store.get(topic)
        if known is not None and known.recorder == self._bus.node:
            known.begin_term(recorder)

    def confirm(self, topic: str, second: str) -> None:
        """A worker has a copy of a topic that this one records."""
        if topic in self.recording:
            self.recording[topic] = second
            self.unconfirmed.pop(topic, None)

    def unconfirm(self, topic: str, second: str) -> None:
        """The worker that had a copy has missed something."""
        if self.recording.get(topic) == second:
            self.recording[topic] = None
            self.unconfirmed[topic] = None

    def forget(self, topic: str) -> Head:
        """Remove the history of a topic that this worker records, and begin a new epoch."""
        self.store.change(topic, lambda each: each.forget(self._bus.node))
        counters.count("history_epochs_begun")
        self._claim(topic)
        known = self.store.get(topic)
        assert known is not None, topic
        return known.head

    def release(self, topic: str) -> None:
        """Drop the copy of a topic, which another worker has now."""
        known = self.store.get(topic)
        if known is not None and topic not in self.recording:
            self._hear(topic, known.recorder, known.term)
            self.store.drop(topic)

    def take(self, topic: str, history: History, given: Snapshot) -> None:
        """Keep a log that another worker gives, in addition to what is known here."""
        if self.store.get(topic) is None:
            self.store.put(topic, history, Log.of(given))
        else:
            self.store.change(topic, lambda each: each.merge(given))

    def _claim(self, topic: str) -> None:
        known = self.store.get(topic)
        if known is not None:
            position = Recorded(known.epoch, known.offset, known.term)
            self._bus.publish_recorded(topic, "", JSON, b"", None, position)

    def _dropped(self, topic: str, dropped: Log) -> None:
        """The store has dropped a log: the topic begins a new epoch when it is used again."""
        self.end(topic)
        self._hear(topic, dropped.recorder, dropped.term)

    # Following another recorder

    def follow(self, topic: str, header: Received, data: bytes, history: History, keep: bool) -> None:
        """Take note of what another worker has recorded.

        Args:
            topic: the topic.
            header: the header of the recorded broadcast, or claim.
            data: its payload.
            history: the limits of the topic.
            keep: whether this worker keeps the copy of a topic whose first entry this is.
        """
        position, recorder = header.recorded, header.origin
        assert position is not None, topic
        origin, sequence = position.origin or recorder, position.sequence or header.sequence
        if header.event and position.origin and self._counts(topic, position.term, recorder):
            self.originals.recorded(topic, origin, sequence)
        if topic in self.recording and not self._yields(topic, recorder, position, header):
            return
        known = self.store.get(topic)
        if known is None and keep and header.event and position.offset == 1:
            known = Log(recorder, position.term, position.epoch)
            self.store.put(topic, history, known)
        if known is None:
            self._hear(topic, recorder, position.term)
            return
        entry = None
        if header.event:
            at = self.store.now()
            entry = Entry(position.offset, header.event, header.codec, data, origin, sequence, at)
        before = known.recorder
        self.store.follow(topic, position.term, recorder, position, entry)
        if not known.complete:
            self.incomplete.setdefault(topic, self._clock())
        if known.recorder != before:
            self._on_change()

    def _counts(self, topic: str, term: int, recorder: str) -> bool:
        """Return whether no recorder of a later term is known."""
        known = self.store.get(topic)
        if known is not None:
            return known.supersedes(term, recorder)
        heard = self._heard.get(topic)
        return heard is None or (term, recorder) >= (heard[1], heard[0])

    def ignore(self, topic: str, header: Received) -> None:
        """Ignore a recorded broadcast, or claim, of a node that has not announced that it records topics.

        Its term and position do not count. For a moment after the start, every other worker is such a node.
        """
        unannounced(topic, header.origin)
        if header.event and self.recorder_of(topic) is None:
            first = original(header)
            self.originals.remove(topic, first.origin, first.sequence)

    def _yields(self, topic: str, recorder: str, position: Recorded, header: Received) -> bool:
        """Two workers record a topic: return whether this one has given it up."""
        known = self.store.get(topic)
        assert known is not None, topic
        if not known.supersedes(position.term, recorder):
            self._assert_term(topic, known, position, header)
            return False
        counters.count("history_conflicts")
        log.error("another worker records a topic as well: given up here", topic=topic, worker=recorder)
        base = position.offset - (1 if header.event else 0)
        same = position.epoch == known.epoch
        lost = [
            each
            for each in known.entries
            if each.origin == self._bus.node and (each.offset > base or not same)
        ]
        self.end(topic)
        self.store.drop(topic)
        self._hear(topic, recorder, position.term)
        if lost:
            self.on_lost(recorder, topic, lost)
        self._on_change()
        return True

    def publish_again(self, topic: str, entry: Entry) -> None:
        """Publish a broadcast of this worker again, as a new one, for the recorder of the topic."""
        new = Original(
            entry.event,
            entry.codec,
            entry.data,
            self._bus.node,
            self._bus.sequence + 1,
            None,
            self._clock(),
        )
        self.wait_for_recorder(topic, new)
        self._bus.publish(topic, entry.event, entry.codec, entry.data, None)

    def _assert_term(self, topic: str, known: Log, position: Recorded, header: Received) -> None:
        """A recorder of an earlier term does not know of this one: claim the topic again."""
        now = self._clock()
        if now - self._claimed_at.get(topic, float("-inf")) < RECLAIM_SECONDS:
            return
        self._claimed_at[topic] = now
        if len(self._claimed_at) > MAX_HEARD:
            self._claimed_at.popitem(last=False)
        first = original(header)
        ours = next((each for each in known.entries if each.offset == position.offset), None)
        same = ours is not None and (ours.origin, ours.sequence) == (first.origin, first.sequence)
        if header.event and position.epoch == known.epoch and not same:
            counters.count("history_conflicts")
            log.error("another worker has recorded a topic as well: new epoch", topic=topic)
            self.forget(topic)
        else:
            self._claim(topic)

    def _hear(self, topic: str, recorder: str, term: int) -> None:
        before = self._heard.get(topic)
        if before is not None and (term, recorder) < (before[1], before[0]):
            return
        self._heard[topic] = recorder, term
        self._heard.move_to_end(topic)
        if len(self._heard) > MAX_HEARD:
            self._heard.popitem(last=False)
        if before is None or before[0] != recorder:
            self._on_change()
