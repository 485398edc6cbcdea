"""The logs of three workers that record a topic in turn, against a model of what was recorded.

What a recorder publishes arrives at each worker in order, but at any time, or never; logs and their newest
entries are given at any time. A worker records next when all of the last recorder has arrived: it continues
the epoch only if its copy is complete.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.app.history import History
from mesh.history.contract import Head, Query
from mesh.history.log import Log
from tests.unit.mesh.history.logs import NOW, check, offsets

NODES = ("a", "b", "c")
WORKERS = st.sampled_from(NODES)


class Copies(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.logs = {"a": Log("a")}
        self.recorder = "a"
        self.model = {self.logs["a"].epoch: []}
        self.arriving = {each: deque() for each in NODES}
        self.given = []
        self.numbers = 0
        self.before = {}

    def publish(self, entry):
        log = self.logs[self.recorder]
        for node in NODES:
            if node != self.recorder:
                self.arriving[node].append((log.term, self.recorder, log.head, entry))

    @property
    def recorded(self):
        return self.model[self.logs[self.recorder].epoch]

    @rule(size=st.integers(0, 9), origin=st.sampled_from("mn"))
    def record(self, size, origin):
        self.numbers += 1
        entry = self.logs[self.recorder].record("e", 1, b"x" * size, origin, self.numbers, NOW)
        self.recorded.append(entry)
        assert entry.offset == len(self.recorded)
        self.publish(entry)

    @rule(node=WORKERS)
    def arrive(self, node):
        if self.arriving[node]:
            self.follow(node, *self.arriving[node].popleft())

    @rule(node=WORKERS)
    def lose(self, node):
        if self.arriving[node]:
            self.arriving[node].popleft()

    @rule(node=WORKERS)
    def arrive_twice(self, node):
        if self.arriving[node]:
            self.follow(node, *self.arriving[node][0])

    def follow(self, node, term, recorder, head, entry):
        log = self.logs.get(node)
        if log is None and entry is not None:
            log = self.logs[node] = Log(recorder, term, head.epoch, head.offset - 1)
        if log is not None:
            log.follow(term, recorder, head, entry)

    @rule(node=WORKERS, after=st.integers(0, 20))
    def give(self, node, after):
        if node in self.logs:
            self.given.append(self.logs[node].snapshot(after))

    @precondition(lambda self: self.given)
    @rule(node=WORKERS, data=st.data())
    def take(self, node, data):
        given = data.draw(st.sampled_from(self.given))
        if node == self.recorder:
            return
        if node in self.logs:
            self.logs[node].merge(given)
        else:
            self.logs[node] = Log.of(given)

    @rule(node=WORKERS, messages=st.integers(1, 6))
    def trim(self, node, messages):
        if node in self.logs:
            self.logs[node].trim(History(messages=messages), NOW)

    @rule()
    def forget(self):
        log = self.logs[self.recorder]
        log.forget(self.recorder)
        self.model[log.epoch] = []
        self.publish(None)

    @rule(node=WORKERS)
    def take_over(self, node):
        if node == self.recorder or node not in self.logs:
            return
        while self.arriving[node]:
            self.arrive(node)
        log = self.logs[node]
        latest = self.logs[self.recorder]
        # What was lost on the way here is known to the worker by its paths: then it cannot prove anything.
        provable = (log.term, log.recorder, log.head) == (latest.term, latest.recorder, latest.head)
        log.term = max(log.term, latest.term)
        if provable:
            log.begin_term(node)
        else:
            log.forget(node)
        self.recorder = node
        self.model.setdefault(log.epoch, [])
        assert log.offset == len(self.recorded)
        self.publish(None)

    @invariant()
    def every_log_has_what_was_recorded(self):
        for log in self.logs.values():
            check(log)
            recorded = self.model[log.epoch]
            assert list(log.entries) == recorded[log.first - 1 : log.offset]
            assert all(log.is_recorded(each.origin, each.sequence) for each in log.entries)

    @invariant()
    def an_answer_that_is_complete_lacks_nothing_up_to_its_offset(self):
        for log in self.logs.values():
            for after in range(log.offset + 2):
                page = log.read(Query("t", log.epoch, after), History(), NOW)
                if page.complete:
                    assert offsets(page.entries) == list(range(after + 1, page.offset + 1))

    @invariant()
    def no_position_goes_back_within_an_epoch(self):
        for node, log in self.logs.items():
            before = self.before.get(node, Head("", 0))
            assert log.epoch != before.epoch or log.offset >= before.offset
            self.before[node] = log.head

    @invariant()
    def who_records_is_complete(self):
        log = self.logs[self.recorder]
        assert log.complete
        assert log.offset == len(self.recorded)


TestCopies = Copies.TestCase
TestCopies.settings = settings(stateful_step_count=40)
